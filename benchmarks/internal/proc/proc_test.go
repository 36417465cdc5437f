package proc

import (
	"os"
	"os/exec"
	"testing"
)

func TestFamilyHasTheChildrens(t *testing.T) {
	t.Parallel()
	if pid, err := Parent(os.Getpid()); err != nil || pid != os.Getppid() {
		t.Errorf("parent %d, %v; want %d", pid, err, os.Getppid())
	}
	before, err := Family(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	// Enough to be seen in ticks of 10 ms.
	if err := exec.Command("sh", "-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done").Run(); err != nil {
		t.Fatal(err)
	}
	own, err := CPU(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	after, err := Family(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if after-before < 2*tick || after <= own {
		t.Errorf("%v after %v, of which own %v: a child's time is missing", after, before, own)
	}
}
