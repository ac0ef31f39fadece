// Made from index.js by `npm run build`.
var socketiojwt = (function () {
'use strict';

// Refusals that may be gone a moment later. `timeout` is one of them because the token was on its way.
const passing = ['invalid_secret', 'server_busy', 'timeout'];

// Why a client is out whose `token` returns nothing: what the server would say.
const nobody = { message: 'no token provided', code: 'credentials_required', type: 'UnauthorizedError' };

// A session that ends sooner is none: its token is no better than a refused one.
const aSession = 1000;

function connect(io, url, { token, mode = 'handshake', onOut, ...options } = {}) {
  if (typeof token !== 'function') throw new TypeError('connect: options.token must be a function that returns a token');
  if (mode !== 'handshake' && mode !== 'roundtrip') throw new TypeError("connect: options.mode must be 'handshake' or 'roundtrip'");
  const handshake = mode === 'handshake';
  const { auth: ownAuth, reconnection, reconnectionAttempts, reconnectionDelay, reconnectionDelayMax } = options;
  const maxTries = reconnection === false ? 0 : reconnectionAttempts || Infinity;

  let closed = false;
  let turn = 0; // changes with each connection: a token that was asked for in one turn is not sent in another
  let timer;
  let query; // 2.x, handshake: what its requests carry

  let asking; // the token that is being fetched, a promise
  let askedAt = 0; // when the last one came
  let last; // the last one, as long as no server said that it has expired
  let fresh = false; // the client was not in with it yet
  let next; // the one that was fetched for the connection that opens now

  let inSince = 0; // when the server let the client in; 0: it is not in
  let refusal; // what `unauthorized` said in this connection
  let renewed = false; // a refused token was already replaced, and the client was not in since
  let tries = 0;

  // Asks for a token; whoever asks meanwhile gets the same.
  function ask() {
    if (!asking) {
      const done = () => { asking = undefined; };
      asking = Promise.resolve().then(token).then(value => {
        if (!value) throw nobody;
        last = value;
        fresh = true;
        askedAt = Date.now();
        if (query) query.token = value;
        return value;
      });
      asking.then(done, done);
    }
    return asking;
  }

  // A new token. Where there is none at the moment, the last one may still do.
  function obtain() {
    return ask().catch(error => {
      if (last === undefined || error === nobody) throw error;
      return last;
    });
  }

  // Asks ahead of need. A failure does not matter now; that nobody is logged in does.
  function askAhead(then) {
    ask().then(then, error => {
      if (error === nobody) out(error);
    });
  }

  // Opens the connection with a new token.
  function open() {
    obtain().then(value => ended(socket.io.engine).then(() => {
      if (closed) return;
      next = value;
      if (!socket.active) socket.connect(); // or the page's own code was faster
    }), error => refused(error));
  }

  // Gets the token for this connection to `how`, unless the turn is over by then.
  function send(how) {
    const mine = ++turn;
    const inTurn = f => value => {
      if (mine === turn && !closed) f(value);
    };
    const value = next === undefined ? obtain() : Promise.resolve(next);
    value.then(inTurn(how), inTurn(refused));
  }

  // The `auth` option: 3.x and 4.x call it for each connection.
  function auth(answer) {
    const withOwn = typeof ownAuth === 'function' ? ownAuth : use => use(ownAuth);
    withOwn(own => send(value => answer({ ...own, token: value })));
  }

  const authenticate = value => socket.emit('authenticate', { token: value });

  function admitted() {
    inSince = Date.now();
    fresh = false;
    refusal = undefined;
  }

  function refused(why, early) {
    if (closed) return;
    const reason = Object(why) === why ? why : { message: String(why) };
    // 3.x to 4.3 stay active after a refusal, and would come back whenever the connection is lost.
    if (socket.active !== false) socket.disconnect();

    if (passing.includes(reason.code) || reason.retryable) {
      if (tries < maxTries) return wait(backOff(tries++), open);
    } else if (!renewed) {
      const stale = early && !fresh && reason.code === 'invalid_token'; // it was from before the client was away
      if (stale || reason.message === 'jwt expired') {
        renewed = true;
        last = undefined;
        return open();
      }
    }
    out(reason);
  }

  function backOff(n) {
    const delay = Math.min((reconnectionDelay || 1000) * 2 ** n, reconnectionDelayMax || 5000);
    return delay * (0.5 + Math.random());
  }

  function wait(ms, then) {
    clearTimeout(timer);
    timer = setTimeout(then, ms);
  }

  function out(reason) {
    if (closed) return;
    close();
    if (onOut) onOut(reason);
  }

  function close() {
    closed = true;
    clearTimeout(timer);
    socket.close();
  }

  // A connection of its own, so that another one's token is not in its way.
  const socket = io(url, { forceNew: true, ...options, ...(handshake && { auth }), autoConnect: false });
  const version2 = typeof socket.onAny !== 'function';
  if (handshake && version2) query = takeQuery(socket);

  socket.on('connect', () => {
    if (handshake) admitted();
    else send(authenticate);
  });

  socket.on('authenticated', admitted);

  socket.on('token_expiring', warning => {
    const mine = turn;
    const renew = () => askAhead(value => {
      if (mine === turn) authenticate(value);
    });
    // Tokens that live no longer than the warning comes ahead are warned of at once, each of them.
    if (Date.now() - askedAt >= aSession) renew();
    else wait((warning && warning.expiresIn || 1) * 500, renew);
  });

  socket.on('unauthorized', why => {
    refusal = why && why.data || why;
  });

  socket.on('disconnect', reason => {
    turn++;
    next = undefined;
    clearTimeout(timer);
    const early = !inSince;
    const why = refusal;
    if (inSince && Date.now() - inSince >= aSession) {
      renewed = false;
      tries = 0;
    }
    inSince = 0;
    refusal = undefined;
    if (closed || reason === 'io client disconnect') return;
    // A server may end the connection instead of the socket once it has refused the token.
    if (reason === 'io server disconnect' || early && why) refused(why || { message: reason }, early);
    else if (query) askAhead();
  });

  socket.on('connect_error', error => {
    next = undefined; // the next connection may be long in coming
    if (closed) return;
    // Without `data` the server did not answer. The client tries again by itself, also after a 503.
    if (!version2 && 'data' in Object(error)) refused(error.data && error.data.code ? error.data : error, true);
    else if (query) askAhead();
  });

  if (version2) {
    socket.on('error', why => {
      if (why instanceof Error) return; // the connection's, not the server's
      if (socket.connected) refusal = why; // DISCONNECT follows, or it is the application's own
      else refused(why, true);
    });
  }

  open();
  return { socket, close };
}

// Resolves when the engine has closed: one that still has something to send takes a moment, and up to
// 4.3 its end would be taken for that of the connection opened meanwhile.
function ended(engine) {
  return new Promise(resolve => {
    if (engine && engine.readyState === 'closing') engine.once('close', resolve);
    else resolve();
  });
}

// Gives a 2.x client an object for its query, which it reads for each connection, and returns it. A query
// in the URL would take precedence.
function takeQuery(socket) {
  const manager = socket.io;
  const [address, search] = (manager.uri || '').split('?');
  const query = {};
  for (const part of [search, manager.opts.query]) {
    new URLSearchParams(part || '').forEach((value, name) => { query[name] = value; });
  }
  if (address) manager.uri = address;
  manager.opts.query = query;
  return query;
}

return { connect: connect };
})();
