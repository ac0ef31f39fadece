// Node's own servers, 2.x and 4.x, with the events and refusals of socketiojwt: what the clients are
// tested against where no other server is given (see helper.mjs).
import { createServer } from 'node:http';
import { Server as Server4 } from 'socket.io';
import Server2 from 'socket.io-2';
import { refusal, verify } from './token.mjs';

// Starts a server of version 2 or 4 on a free port. It warns `warning` ms before a token expires; in the
// round trip a client has `timeout` ms.
// hangUp: it ends the connection, not the socket, once a client has heard why it is refused.
export async function startNodeServer({ version, mode, timeout = 4000, warning = 1000, hangUp = false }) {
  const http = createServer();
  const options = { serveClient: false, transports: ['polling', 'websocket'] };
  const io = version === 2 ? new Server2(http, options) : new Server4(http, options);
  const revoked = new Set();
  const live = new Set();

  for (const name of ['/', '/other']) {
    const namespace = io.of(name);
    if (mode === 'handshake') {
      namespace.use((socket, next) => {
        const { token } = version === 2 ? socket.handshake.query : socket.handshake.auth;
        const { claims, error } = verify(token, revoked);
        socket.claims = claims;
        if (!error) return next();
        next(Object.assign(new Error(error.message), { data: error }));
        if (version === 2) {
          // As the gate: after ERROR comes DISCONNECT, unless the client may try again, and the connection ends.
          setImmediate(() => {
            if (error.code !== 'invalid_secret') socket.packet({ type: 1 });
            socket.conn.transport.closeTimeout = 100; // or the process lives on for 30 s
            socket.conn.close();
          });
        }
      });
    }
    namespace.on('connection', socket => new Session(socket));
  }

  function Session(socket) {
    let timers = [];
    // Unref: socket.io 2.x does not tell a socket whose connection is lost while it joins.
    const after = (ms, what) => timers.push(setTimeout(what, ms).unref());
    const clear = () => {
      for (const timer of timers) clearTimeout(timer);
      timers = [];
    };
    const tell = (error, heard = () => {}) => socket.emit('unauthorized', { message: error.message, data: error }, heard);
    this.end = error => {
      if (error) tell(error);
      socket.disconnect();
    };
    const until = exp => {
      clear();
      const left = exp * 1000 - Date.now();
      const warn = () => socket.emit('token_expiring', { expiresIn: Math.round(Math.min(left, warning) / 1000) });
      after(left, () => this.end(refusal('invalid_token', 'jwt expired')));
      if (left > warning) after(left - warning, warn);
      else warn();
    };
    const enter = claims => {
      this.claims = claims;
      live.add(this);
      socket.emit('welcome', { namespace: socket.nsp.name, subject: claims.sub });
      if (claims.flash) this.end(refusal('invalid_token', 'jwt expired'));
      else until(claims.exp);
    };

    socket.on('disconnect', () => {
      clear();
      live.delete(this);
    });
    socket.on('authenticate', ({ token }) => {
      const { claims, error } = verify(token, revoked);
      if (hangUp && error) return tell(error, () => socket.conn.close());
      if (error) return this.claims ? tell(error) : this.end(error);
      if (!this.claims) {
        socket.emit('authenticated');
        return enter(claims);
      }
      if (claims.sub !== this.claims.sub) return tell(refusal('invalid_token', 'jwt subject changed'));
      socket.emit('authenticated');
      this.claims = claims;
      until(claims.exp);
    });
    socket.on('whoami', answer => answer(this.claims ? { namespace: socket.nsp.name, subject: this.claims.sub } : null));
    socket.on('handshake', answer => answer({ auth: socket.handshake.auth, query: socket.handshake.query }));

    if (mode === 'handshake') enter(socket.claims);
    else after(timeout, () => this.end(refusal('timeout', 'authentication timed out')));
  }

  const controls = {
    '/disconnect': ({ subject, code, message }) => {
      for (const session of live) if (session.claims.sub === subject) session.end(code && refusal(code, message));
    },
    '/revoke': ({ id }) => server.revoke(id)
  };

  // Stands in front of socket.io, counts handshakes, and answers 503 to the next `busy` of them.
  const server = {
    handshakes: 0,
    busy: 0,
    get connections() { return io.engine.clientsCount; },
    sockets: namespace => io.of(namespace).sockets.size, // 4.x
    revoke(id) {
      revoked.add(id);
      for (const session of live) if (session.claims.jti === id) session.end(refusal('invalid_token', 'jwt revoked'));
    }
  };
  const [answer, upgrade] = ['request', 'upgrade'].map(event => {
    const [listener] = http.listeners(event);
    http.removeAllListeners(event);
    return listener;
  });
  const welcome = request => {
    if (request.url.includes('sid=')) return true;
    server.handshakes++;
    if (server.busy === 0) return true;
    server.busy--;
    return false;
  };
  http.on('request', (request, response) => {
    if (!request.url.startsWith('/socket.io/')) {
      const { pathname, searchParams } = new URL(request.url, 'http://127.0.0.1');
      controls[pathname](Object.fromEntries(searchParams));
      return response.end();
    }
    if (welcome(request)) return answer.call(http, request, response);
    response.writeHead(503).end(JSON.stringify(refusal('server_busy', 'server busy')));
  });
  http.on('upgrade', (request, socket, head) => {
    if (welcome(request)) return upgrade.call(http, request, socket, head);
    socket.end('HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
  });

  await new Promise(resolve => http.listen(0, '127.0.0.1', resolve));
  server.url = `http://127.0.0.1:${http.address().port}`;
  server.stop = () => new Promise(resolve => {
    io.close(() => resolve());
    http.closeAllConnections();
  });
  return server;
}
