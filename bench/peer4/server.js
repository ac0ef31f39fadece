// A socket.io 4 server with jsonwebtoken in its middleware, to be measured:
// node --expose-gc server.js SECRET [HOST:PORT PREFIX], the latter two for a cluster on that Redis. It prints {"url": ...} once it listens, and runs until it is
// killed.
const http = require('http');
const jwt = require('jsonwebtoken');
const { Server } = require('socket.io');

const [secret, redis, key] = process.argv.slice(2);
let authenticated = 0;
let rooms = 0;
// Not one: a Map slows down where the same key comes and goes.
const halls = Array.from({ length: 1000 }, (_, i) => `hall ${i}`);

const server = http.createServer((request, response) => {
  const { pathname, searchParams } = new URL(request.url, 'http://localhost');
  const answer = value => response.end(JSON.stringify(value));
  switch (`${request.method} ${pathname}`) {
    case 'POST /gc': {
      gc();
      gc();
      const { heapUsed, external } = process.memoryUsage();
      return answer({ heap: heapUsed + external });
    }
    case 'GET /stats':
      return answer({ clients: io.engine.clientsCount, authenticated });
    case 'GET /nodes':
      return io.of('/').adapter.serverCount().then(nodes => answer({ nodes }));
    case 'POST /broadcast':
      for (let n = Number(searchParams.get('n')); n > 0; n--) io.emit('news', searchParams.get('text'));
      return answer({});
  }
  response.statusCode = 404;
  response.end();
});

// The clients that measure speak Engine.IO 3.
const io = new Server(server, { serveClient: false, allowEIO3: true });

io.use((socket, next) => {
  jwt.verify(socket.handshake.query.token, secret, { algorithms: ['HS256'] }, error => {
    if (!error) authenticated++;
    next(error || undefined);
  });
});

io.on('connection', socket => {
  socket.on('echo', (text, callback) => callback(text));
  socket.on('hold', (n, callback) => {
    for (let i = 0; i < n; i++) socket.join(`room ${++rooms}`);
    callback(n);
  });
  socket.on('move', (n, callback) => {
    for (let i = 0; i < n; i++) {
      socket.join(halls[i % halls.length]);
      socket.leave(halls[i % halls.length]);
    }
    callback(n);
  });
});

const listen = () =>
  server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ url: `http://127.0.0.1:${server.address().port}` })));

if (redis) {
  const { createClient } = require('redis');
  const [pub, sub] = [1, 2].map(() => createClient({ url: `redis://${redis}` }));
  Promise.all([pub.connect(), sub.connect()]).then(() => {
    io.adapter(require('@socket.io/redis-adapter').createAdapter(pub, sub, { key }));
    listen();
  });
} else {
  listen();
}
