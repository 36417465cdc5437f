package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/parleychat/chat/benchmarks/internal/load"
)

// Results is what results.json holds: enough to print and draw all of it anew.
type Results struct {
	Date     time.Time         `json:"date"`
	Command  string            `json:"command"`
	Quick    bool              `json:"quick"`
	Took     string            `json:"took"`
	Machine  string            `json:"machine"`
	Versions map[string]string `json:"versions"`
	Sizes    sizes             `json:"sizes"`
	Servers  []*Figures        `json:"servers"`
	Libs     []*Figures        `json:"libs,omitempty"`
	Log      *LogFigures       `json:"log,omitempty"`
}

// Figures are one server's. Each list has one result a run; what stands in the
// table is the median.
type Figures struct {
	Name      string        `json:"name"`
	Title     string        `json:"title"`
	Version   string        `json:"version,omitempty"`
	Failed    []string      `json:"failed,omitempty"`
	Idle      []load.Result `json:"idle,omitempty"`
	Saturated []load.Result `json:"saturated,omitempty"`
	Paced     []load.Result `json:"paced,omitempty"`
}

func (f *Figures) fail(what string, err error) {
	f.Failed = append(f.Failed, what+": "+err.Error())
}

// add keeps the result of one run under its mode.
func (f *Figures) add(mode string, r load.Result) {
	if r.Lost > 0 {
		f.Failed = append(f.Failed, fmt.Sprintf("%s: the server closed %d connections unasked; the run went on with others", mode, r.Lost))
	}
	switch mode {
	case "idle":
		f.Idle = append(f.Idle, r)
	case "saturated":
		f.Saturated = append(f.Saturated, r)
	case "paced":
		f.Paced = append(f.Paced, r)
	}
}

// A metric is one row of the table.
type metric struct {
	label  string
	digits int
	of     func(*Figures) []float64
}

func values(rs []load.Result, of func(load.Result) float64) []float64 {
	out := make([]float64, len(rs))
	for i, r := range rs {
		out[i] = of(r)
	}
	return out
}

func kib(f *Figures) []float64 {
	return values(f.Idle, func(r load.Result) float64 { return r.BytesPerConn / 1024 })
}

func settledKiB(f *Figures) []float64 {
	return values(f.Idle, func(r load.Result) float64 { return r.SettledBytesPerConn / 1024 })
}

func connectMicros(f *Figures) []float64 {
	return values(f.Idle, func(r load.Result) float64 { return r.MicrosPerConnect })
}

func saturatedMicros(f *Figures) []float64 {
	return values(f.Saturated, func(r load.Result) float64 { return r.MicrosPerDelivery })
}

func saturatedRate(f *Figures) []float64 {
	return values(f.Saturated, func(r load.Result) float64 { return r.DeliveriesPerSecond })
}

func pacedMicros(f *Figures) []float64 {
	return values(f.Paced, func(r load.Result) float64 { return r.MicrosPerDelivery })
}

// ratios divides run by run: the n-th of a and of b were neighbours in time,
// and met the same noise.
func ratios(a, b []float64) []float64 {
	n := min(len(a), len(b))
	out := make([]float64, 0, n)
	for i := range n {
		if b[i] > 0 {
			out = append(out, a[i]/b[i])
		}
	}
	return out
}

func (r *Results) find(name string) *Figures {
	for _, f := range r.Servers {
		if f.Name == name {
			return f
		}
	}
	return nil
}

func (r *Results) write(path string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}

func readResults(path string) (*Results, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r := new(Results)
	return r, json.Unmarshal(b, r)
}

// machine says what it is measured on, in one line.
func machine() string {
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	version, _, _ := strings.Cut(strings.TrimSpace(string(kernel)), "-")
	kib, _ := strconv.ParseFloat(strings.TrimSuffix(field("/proc/meminfo", "MemTotal"), " kB"), 64)
	return fmt.Sprintf("%d cores (%s), %.0f GiB, Linux %s, %s",
		runtime.NumCPU(), field("/proc/cpuinfo", "model name"), kib/(1<<20), version, runtime.GOARCH)
}

// field is the first value of key in a file of "key: value" lines.
func field(path, key string) string {
	b, _ := os.ReadFile(path)
	for line := range strings.Lines(string(b)) {
		k, v, ok := strings.Cut(line, ":")
		if ok && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return "unknown"
}

func versions() map[string]string {
	v := map[string]string{"Go": strings.TrimPrefix(runtime.Version(), "go")}
	for name, argv := range map[string][]string{"Node": {"node", "--version"}, "Python": {"/usr/bin/python3", "--version"}} {
		if out, err := exec.Command(argv[0], argv[1:]...).Output(); err == nil {
			v[name] = strings.TrimLeft(strings.TrimSpace(string(out)), "Pythonv ")
		}
	}
	return v
}
