// The package: what it exports, for whom, and that what is made from index.js is up to date.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { runInThisContext } from 'node:vm';
import { io } from 'socket.io-client';
import ts from 'typescript';
import * as esm from 'socketiojwt-client';
import { build } from '../build.mjs';
import { startNodeServer } from './server.mjs';
import { sign } from './token.mjs';

const require = createRequire(import.meta.url);
const read = name => readFileSync(new URL(`../${name}`, import.meta.url), 'utf8');
const manifest = JSON.parse(read('package.json'));

test('what is made from index.js is up to date', () => {
  for (const [name, text] of Object.entries(build())) assert.ok(read(name) === text, `${name}: npm run build`);
});

const forms = {
  'ES module': () => esm,
  CommonJS: () => require('socketiojwt-client'),
  browser: () => runInThisContext(`${read('browser.js')}socketiojwt`)
};
for (const [form, load] of Object.entries(forms)) {
  test(`${form}: connects`, async () => {
    const { connect, ...rest } = load();
    assert.deepEqual(Object.keys(rest), []);
    const server = await startNodeServer({ version: 4, mode: 'handshake' });
    const { socket, close } = connect(io, server.url, { token: () => sign({ sub: 'red' }) });
    try {
      await new Promise((resolve, reject) => {
        socket.on('welcome', resolve);
        socket.on('connect_error', reject);
      });
    } finally {
      close();
      await server.stop();
    }
  });
}

test('the syntax is not newer than ES2018', () => {
  for (const name of ['index.js', 'index.cjs', 'browser.js']) {
    const [old, newest] = ['ES2018', 'ESNext'].map(target =>
      ts.transpile(read(name), { target: ts.ScriptTarget[target], module: ts.ModuleKind.ESNext }));
    assert.ok(old === newest, name);
  }
});

test('mistakes are told at once', () => {
  const never = () => assert.fail('io was called');
  assert.throws(() => esm.connect(never, '/'), /options.token must be a function/);
  assert.throws(() => esm.connect(never, '/', { token: 'a token' }), /options.token must be a function/);
  assert.throws(() => esm.connect(never, '/', { token: () => 'a token', mode: 'both' }), /options.mode must be/);
});

test('the types fit socket.io-client', () => {
  const tsc = require.resolve('typescript/bin/tsc');
  try {
    execFileSync(process.execPath, [tsc, '-p', fileURLToPath(new URL('tsconfig.json', import.meta.url))], { encoding: 'utf8' });
  } catch (error) {
    assert.fail(error.stdout);
  }
});

test('the package has what it says, and depends on nothing', () => {
  const { '.': { import: module, require: common } } = manifest.exports;
  for (const name of [...manifest.files, manifest.main, manifest.module, manifest.types, ...Object.values(module), ...Object.values(common)]) {
    assert.ok(existsSync(new URL(`../${name}`, import.meta.url)), name);
  }
  assert.equal(manifest.dependencies, undefined);
  assert.equal(read('package-lock.json').includes('"resolved"'), false, 'package-lock.json names a registry');
  assert.equal(read('LICENSE'), read('../LICENSE'));
});
