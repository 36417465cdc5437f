package engineio

// parts are of what has come in part: a frame, a message of several frames.
type parts struct {
	frame      []byte // from its header on
	msg        []byte // the payloads of a message's frames so far
	inMsg      bool
	op         byte
	compressed bool
}

func (c *wsConn) partsOf() *parts {
	if c.parts == nil {
		c.parts = &parts{}
	}
	return c.parts
}

func (c *wsConn) inMessage() bool { return c.parts != nil && c.parts.inMsg }

// tidy lets go of parts that are whole.
func (c *wsConn) tidy() {
	if p := c.parts; p != nil && len(p.frame) == 0 && !p.inMsg {
		c.parts = nil
	}
}
