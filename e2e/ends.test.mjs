// What was emitted before an end arrives before it, in order, whoever ends, and nothing comes behind it.
// RUNS says how often, as in transport.test.mjs.
import { test, describe } from 'node:test';
import assert from 'node:assert/strict';
import { connect, eventually, inParallel, matrix, refusal, sign, unauthorized, within, withServer, Witness } from './helper.mjs';

const runs = Math.ceil(Number(process.env.RUNS ?? 200) / 4);
const limit = { timeout: 180_000 };
const pause = ms => new Promise(resolve => setTimeout(resolve, ms));

// Most runs have one word only: then it is the first and the last.
const wordsOf = run => run % 5 ? 1 : 200;
const numbers = n => Array.from({ length: n }, (_, i) => ['number', i]);

// The ends, and what the client sees of each.
const gone = ['disconnect', 'io server disconnect'];
const told = (code, message) => [['unauthorized', unauthorized(code, message)], gone];
const ends = {
  'Close': [gone],
  'go Close': [gone],
  'Disconnect': told('unauthorized', 'unauthorized'),
  'DisconnectSubject': told('unauthorized', 'unauthorized'),
  'revocation': told('invalid_token', 'jwt revoked')
};
// The socketio.Conn of the hooks is go-socket.io's: its Close says nothing to the client, who comes back.
const endsOfHooks = { ...ends, 'Close': [['disconnect', 'transport close']], 'go Close': [['disconnect', 'transport close']] };

// All that a client saw, but what it was greeted with; bytes as text.
const heard = client => client.log.filter(([event]) => event !== 'welcome').map(([event, ...args]) =>
  event === 'binary' ? [event, args[0], Buffer.from(args[1]).toString()] : [event, ...args]);

for (const variant of matrix) {
  const serve = (body, options, more) => withServer({ handshake: true, revocations: true, ...options }, async server => {
    await body(server);
    await eventually(async () => assert.equal((await server.stats()).sockets, 0));
  }, more);

  // A client that is in, at another moment of the upgrade each time.
  const enter = async (server, run, claims) => {
    const client = connect(variant, server.url, { query: { token: sign(claims) }, reconnection: false });
    await client.until('connect');
    await pause(run % 16);
    return client;
  };

  describe(variant.name, () => {
    for (const hooks of [false, true]) {
      const through = hooks ? ', through the hooks one by one' : '';
      for (const [end, seen] of Object.entries(hooks ? endsOfHooks : ends)) {
        test(`${runs} runs: last words, then ${end}${through}`, limit, () =>
          serve(server => inParallel(runs, async run => {
            const client = await enter(server, run, { sub: `${end} ${run}` });
            client.socket.emit('last words', end, wordsOf(run));
            await client.until('disconnect');
            assert.deepEqual(heard(client), [['connect'], ...numbers(wordsOf(run)), ['binary', wordsOf(run), 'last'], ...seen]);
          }), {}, { hooks, gate: hooks }));
      }
    }

    test(`${runs} runs: last words, then an error of OnConnect`, limit, () =>
      serve(server => inParallel(runs, async run => {
        const client = connect(variant, server.url, { query: { token: sign({ refuse: '/', words: wordsOf(run) }) } });
        await client.until('disconnect');
        assert.deepEqual(client.log, [['connect'], ...numbers(wordsOf(run)), ['error', refusal('unauthorized', 'unauthorized')], gone]);
      })));

    test(`${runs} runs: last words in a namespace, then an error of OnConnect`, limit, () =>
      serve(server => inParallel(runs, async run => {
        const root = connect(variant, server.url, { query: { token: sign({ refuse: '/admin', words: wordsOf(run) }) } });
        const admin = new Witness(root.socket.io.socket('/admin'));
        await admin.until('disconnect');
        assert.deepEqual(admin.log, [['connect'], ...numbers(wordsOf(run)), ['error', refusal('unauthorized', 'unauthorized')], gone]);
        assert.equal(await root.ask('echo', run), run);
        root.close();
      }), { namespaces: ['/', '/admin'] }));

    test('last words to all, then Server.Close', limit, () =>
      withServer({ handshake: true }, async server => {
        const clients = await Promise.all(Array.from({ length: 20 }, async (_, run) => {
          const client = connect(variant, server.url, { query: { token: sign() }, reconnection: false });
          await client.until('welcome');
          await pause(run);
          return client;
        }));
        await server.post('/stop', { words: 200 });
        for (const client of clients) {
          const [reason] = await client.until('disconnect');
          assert.deepEqual(heard(client), [['connect'], ...numbers(200), ['disconnect', reason]]);
          assert.notEqual(reason, 'io server disconnect'); // clients come back, as after a restart
        }
      }));
  });
}

// exp counts in whole seconds, so these wait together.
describe('expiry', { concurrency: true }, () => {
  for (const variant of matrix) {
    for (const hooks of [false, true]) {
      const name = `${variant.name}: last words, then expiry${hooks ? ', through the hooks one by one' : ''}`;
      test(name, limit, () =>
        withServer({ handshake: true }, async server => {
          const clients = await Promise.all(Array.from({ length: 10 }, async (_, run) => {
            const exp = Math.ceil(Date.now() / 1000 + 1);
            const client = connect(variant, server.url, { query: { token: sign({ sub: `red ${run}`, exp }) } });
            await within('connect', resolve => client.socket.on('connect', resolve));
            client.socket.emit('last words', 'expiry', wordsOf(run));
            return client;
          }));
          await Promise.all(clients.map(client => client.until('disconnect')));
          const words = await eventually(async () => { // a handler may still emit
            const { words } = await server.stats();
            assert.equal(Object.keys(words).length, clients.length);
            return words;
          });
          for (const [run, client] of clients.entries()) {
            const arrived = client.all('number').length;
            assert.ok(arrived >= words[`red ${run}`], `${arrived} of ${words[`red ${run}`]}`);
            assert.deepEqual(heard(client), [['connect'], ...numbers(arrived), ...told('invalid_token', 'jwt expired')]);
          }
        }, { hooks, gate: hooks }));
    }
  }
});
