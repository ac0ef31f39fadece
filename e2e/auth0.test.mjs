// auth0's own tests of socketio-jwt 4.6.2, as they are in its package, with both clients. What they call fixture is our server.
import * as runner from 'node:test';
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import io1 from 'socket.io-client-1';
import io2 from 'socket.io-client';
import jwt from 'jsonwebtoken';
import { here, startServer } from './helper.mjs';

const folder = join(here, 'node_modules/socketio-jwt/test');
const key = 'aaafoo super sercret'; // theirs

// What their fixtures start, as our test server's config.
const options = { secret: key, timeout: 1000 };
const fixtures = {
  './fixture': ({ handshake = true, auth_header_required: headerRequired = false }) =>
    [{ ...options, handshake, headerRequired }],
  './fixture/secret_function': ({ handshake = true }) =>
    [{ ...options, handshake, callback: true }],
  './fixture/namespace': () =>
    [[{ ...options, namespaces: ['/admin'] }, { ...options, namespaces: ['/admin_hs'], handshake: true }], { public: ['/'] }]
};

// Runs one of their files: CommonJS, for mocha.
function run(file, client) {
  let server;
  let sockets = [];

  const fixture = config => ({
    start(options, callback) {
      if (callback === undefined) [options, callback] = [{}, options];
      const [auth, more] = config(options);
      startServer(auth, { ...more, auth0: true }).then(started => { server = started; callback(); }, callback);
    },
    stop(callback) {
      for (const socket of sockets) socket.io.close(); // theirs leave most of them open
      sockets = [];
      server.stop().then(() => callback(), callback);
    }
  });
  const modules = {
    'socket.io-client': {
      connect(url, options) {
        const socket = client.connect(url.replace('http://localhost:9000', server.url), options);
        sockets.push(socket);
        return socket;
      }
    },
    // POST /login gives everybody a token, and those of one fixture look at the name.
    request: {
      post({ json: { username } = {} }, callback) {
        const id = username === 'invalid_signature' ? 555 : 123;
        const token = jwt.sign({ first_name: 'John', last_name: 'Doe', email: 'john@doe.com', id }, key, { expiresIn: 60 * 60 * 5 });
        setImmediate(callback, null, {}, { token });
      }
    },
    q: { ninvoke: (object, method, ...args) => new Q((resolve, reject) => object[method](...args, error => error ? reject(error) : resolve())) }
  };
  const require = name => name in fixtures ? fixture(fixtures[name]) : modules[name];

  // mocha's done, for node:test; it may be called again when a client that they left open comes back.
  const withDone = f => f.length === 0 ? f : () => new Promise((resolve, reject) => f(error => error ? reject(error) : resolve()));
  const limit = { timeout: 15_000 };
  const mocha = {
    describe: (name, f) => runner.describe(name, f),
    it: (name, f) => runner.it(name, limit, withDone(f)),
    before: f => runner.before(withDone(f), limit),
    after: f => runner.after(withDone(f), limit),
    beforeEach: f => runner.beforeEach(withDone(f), limit)
  };
  new Function('require', ...Object.keys(mocha), readFileSync(join(folder, file), 'utf8')).call({}, require, ...Object.values(mocha));
}

// Q's promises, as far as they need them.
class Q extends Promise {
  done(f) { this.then(f); }
}

// should.js, as far as they need it.
Object.defineProperty(Object.prototype, 'should', {
  configurable: true,
  get() { return { eql: expected => assert.deepEqual(this.valueOf(), expected) }; }
});
runner.after(() => { delete Object.prototype.should; });

for (const [name, client] of Object.entries({ 'client 1.7.4': io1, 'client 2.5.0': io2 })) {
  for (const file of readdirSync(folder).filter(file => file.endsWith('.test.js'))) {
    runner.describe(`${name}, ${file}`, () => run(file, client));
  }
}
