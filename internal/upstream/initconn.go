package upstream

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"

	"github.com/googollee/go-socket.io/engineio"
	"github.com/googollee/go-socket.io/engineio/session"

	"github.com/go-socketiojwt/socketiojwt/internal/sio"
)

// initConn is what the application's ConnInitor gets for a connection that does not enter
// go-socket.io. The Context that it sets is the first one of the root's socket.
type initConn struct {
	conn    *sio.Conn
	context any
}

var _ engineio.Conn = (*initConn)(nil)

func (c *initConn) ID() string                { return c.conn.ID() }
func (c *initConn) URL() url.URL              { return *c.conn.Client().Handshake().URL }
func (c *initConn) LocalAddr() net.Addr       { return c.conn.Client().Handshake().LocalAddr }
func (c *initConn) RemoteAddr() net.Addr      { return sio.AddrOf(c.conn) }
func (c *initConn) RemoteHeader() http.Header { return c.conn.Client().Handshake().Header }
func (c *initConn) Close() error              { c.conn.Close(); return nil }
func (c *initConn) Context() any              { return c.context }

func (c *initConn) SetContext(v any) {
	c.context = v
	c.conn.SetInitialContext(v)
}

// The sockets read and write the packets.
func (c *initConn) NextReader() (session.FrameType, io.ReadCloser, error) {
	return 0, nil, errors.ErrUnsupported
}

func (c *initConn) NextWriter(session.FrameType) (io.WriteCloser, error) {
	return nil, errors.ErrUnsupported
}
