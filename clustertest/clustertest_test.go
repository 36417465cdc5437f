package clustertest_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/clustertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestBus(t *testing.T) {
	clustertest.Run(t, func(*testing.T) func() chat.Cluster { return clustertest.NewBus(4).Node })
}
