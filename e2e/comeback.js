// For clients 1.x and 2.x.
// Connects, and stays connected while freshToken() resolves to a new token.
// out(reason) is called when it rejects, as it must for a user who has logged
// out, and when the server refuses the client.
function connect(url, { handshake, freshToken, out, ...options }) {
  const socket = io(url, { ...options, autoConnect: false });
  let token;
  let refusal = {};
  let cameBack = 0;

  const renew = async () => {
    token = await freshToken();
    if (handshake) socket.io.opts.query = { token }; // for the next connection
  };
  const open = () => renew().then(() => socket.open(), out);
  const authenticate = () => socket.emit('authenticate', { token });

  if (!handshake) socket.on('connect', authenticate);

  // Stay with a newer token. Where there is none, the old one will expire.
  socket.on('token_expiring', () => renew().then(authenticate, () => {}));

  socket.on('error', reason => { refusal = reason; });
  socket.on('unauthorized', ({ data }) => { refusal = data; });
  socket.on('disconnect', reason => {
    if (reason !== 'io server disconnect') return; // lost: the client comes back by itself
    const now = Date.now();
    // Expired twice within a second: the clocks differ, and the next token will not be better.
    if (refusal.message !== 'jwt expired' || now - cameBack < 1000) return out(refusal);
    cameBack = now;
    // A connection that still has something to send closes a little later.
    if (socket.io.engine.readyState === 'closing') socket.io.once('close', open);
    else open();
  });

  open();
  return socket;
}
