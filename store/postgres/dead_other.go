//go:build !unix

package postgres

import "net"

func dead(net.Conn) bool { return false }
