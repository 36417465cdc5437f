package jwt

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// Times of a key set.
const (
	ageDefault  = 15 * time.Minute // how long a set is good whose answer has no max-age
	ageLeast    = time.Minute
	ageMost     = 6 * time.Hour
	staleMost   = 24 * time.Hour   // how long keys are used after they were fetched, while the address gives no new ones
	askEvery    = 10 * time.Second // how often unknown keys may cause a fetch, however many there are
	retryFirst  = time.Second      // after a failure, then twice as long each time
	retryMost   = time.Minute
	fetchExpiry = 5 * time.Second // of one fetch
)

var (
	errUnknownKey = errors.New("no key of that id and algorithm")
	errSetClosed  = errors.New("the verifier is closed")
)

// A keySet has the keys at a JWKS address. Its goroutine fetches them, ahead of anybody who needs one; only who
// needs a key that is not there waits for it.
type keySet struct {
	source *fetcher
	algs   []Algorithm
	log    *slog.Logger
	ask    chan struct{} // wakes the goroutine; room for one
	end    context.CancelFunc
	ended  chan struct{}

	mu      sync.Mutex // guards what follows
	keys    []key
	fetched time.Time     // when the keys were asked for; zero: never
	tried   time.Time     // when the last attempt ended
	failure error         // of the last attempt
	attempt chan struct{} // closed at the end of the attempt that is under way or asked for; nil: there is none
	closed  bool
}

func newKeySet(source *fetcher, algs []Algorithm, log *slog.Logger) *keySet {
	ctx, cancel := context.WithCancel(context.Background())
	s := &keySet{
		source: source, algs: algs, log: log, end: cancel,
		ask: make(chan struct{}, 1), ended: make(chan struct{}), attempt: make(chan struct{}),
	}
	s.ask <- struct{}{}
	go s.run(ctx)
	return s
}

// close ends the goroutine. Keys that are known stay so.
func (s *keySet) close() {
	s.end()
	<-s.ended
}

// find returns the keys for a token. Without an id those are all that fit. The error is errUnknownKey when the
// set was looked at and has none, and another when it could not be looked at.
func (s *keySet) find(ctx context.Context, a Algorithm, id string) ([]key, error) {
	s.mu.Lock()
	found, attempt := s.lookLocked(a, id), (<-chan struct{})(nil)
	if len(found) == 0 {
		attempt = s.askLocked()
	}
	s.mu.Unlock()
	if len(found) > 0 {
		return found, nil
	}
	if attempt != nil {
		select {
		case <-attempt:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if found = s.lookLocked(a, id); len(found) > 0 {
		return found, nil
	}
	if s.failure != nil {
		return nil, s.failure
	}
	return nil, errUnknownKey
}

func (s *keySet) lookLocked(a Algorithm, id string) (found []key) {
	if time.Since(s.fetched) > staleMost {
		return nil
	}
	for _, k := range s.keys {
		if k.fits(a) && (id == "" || k.id == id) {
			found = append(found, k)
		}
	}
	return found
}

// askLocked has the set fetched, unless that was done a moment ago: who makes up key ids makes no traffic.
func (s *keySet) askLocked() <-chan struct{} {
	if s.attempt == nil && !s.closed && time.Since(s.tried) >= askEvery {
		s.attempt = make(chan struct{})
		s.ask <- struct{}{} // there is room: begin has emptied it when the last attempt began
	}
	return s.attempt
}

func (s *keySet) run(ctx context.Context) {
	defer close(s.ended)
	defer s.stop()
	timer := time.NewTimer(ageMost) // the first attempt is asked for
	defer timer.Stop()
	retry := retryFirst
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-s.ask:
		}
		s.begin()
		began := time.Now()
		keys, age, err := s.fetch(ctx)
		if ctx.Err() != nil {
			return
		}
		s.finish(keys, began, err)
		if err == nil {
			retry = retryFirst
			timer.Reset(age)
			continue
		}
		timer.Reset(retry)
		retry = min(2*retry, retryMost)
	}
}

// begin: an attempt by the clock also serves who asks while it runs.
func (s *keySet) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.attempt == nil {
		s.attempt = make(chan struct{})
	}
	select {
	case <-s.ask:
	default:
	}
}

func (s *keySet) fetch(ctx context.Context) (keys []key, age time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, fetchExpiry)
	defer cancel()
	body, age, err := s.source.get(ctx)
	if err != nil {
		return nil, 0, err
	}
	keys, skipped, err := parseSet(body, s.algs)
	if err != nil {
		return nil, 0, err
	}
	if len(keys) == 0 {
		// Not an error: an issuer may take back all its keys.
		s.log.Warn("jwt: no usable key at the JWKS address", "address", s.source.name, "left_out", errors.Join(skipped...))
	} else if len(skipped) > 0 {
		s.log.Debug("jwt: keys left out", "address", s.source.name, "left_out", errors.Join(skipped...))
	}
	return keys, age, nil
}

func (s *keySet) finish(keys []key, began time.Time, err error) {
	s.mu.Lock()
	failed, fetched := s.failure != nil, s.fetched
	if err == nil {
		s.keys, s.fetched = keys, began
	}
	s.failure, s.tried = err, time.Now()
	close(s.attempt)
	s.attempt = nil
	s.mu.Unlock()
	switch {
	case err != nil:
		s.log.Warn("jwt: the keys were not fetched", "address", s.source.name, "error", err, "last_fetched", fetched)
	case failed:
		s.log.Info("jwt: the keys are fetched again", "address", s.source.name)
	}
}

func (s *keySet) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed, s.failure = true, errSetClosed
	if s.attempt != nil {
		close(s.attempt)
		s.attempt = nil
	}
}
