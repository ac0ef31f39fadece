// The TypeScript in the documentation fits socket.io-client, React and this package.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const top = fileURLToPath(new URL('../../', import.meta.url));
const here = fileURLToPath(new URL('./', import.meta.url)); // where imports are looked for

// Blocks that begin with `// name.ts` have that name; others of the same page import it.
function blocks(page) {
  const found = new Map();
  const text = readFileSync(top + page, 'utf8');
  for (const [, language, code] of text.matchAll(/^```(tsx?)\n(.*?)^```$/gms)) {
    const line = text.slice(0, text.indexOf(code)).split('\n').length;
    const name = code.match(/^\/\/ (\S+\.tsx?)\n/)?.[1] ?? `line-${line}.${language}`;
    found.set(`${here}${page.replaceAll('/', '-')}/${name}`, code);
  }
  return found;
}

const options = {
  noEmit: true, strict: true, target: ts.ScriptTarget.ES2022, lib: ['lib.es2022.d.ts', 'lib.dom.d.ts'],
  module: ts.ModuleKind.ESNext, moduleResolution: ts.ModuleResolutionKind.Bundler, jsx: ts.JsxEmit.ReactJSX, types: []
};

function mistakes(files) {
  const host = ts.createCompilerHost(options);
  const { fileExists, readFile, getSourceFile } = host;
  host.fileExists = name => files.has(name) || fileExists(name);
  host.readFile = name => files.get(name) ?? readFile(name);
  host.getSourceFile = (name, ...rest) => files.has(name)
    ? ts.createSourceFile(name, files.get(name), options.target)
    : getSourceFile(name, ...rest);
  host.directoryExists = undefined; // the folders of the pages are not there
  const program = ts.createProgram([...files.keys()], options, host);
  return ts.formatDiagnostics(ts.getPreEmitDiagnostics(program), {
    getCurrentDirectory: () => here, getCanonicalFileName: name => name, getNewLine: () => '\n'
  });
}

test('the TypeScript of the documentation compiles', () => {
  const pages = ['README.md', 'client/README.md', ...readdirSync(`${top}docs`).filter(name => name.endsWith('.md')).map(name => `docs/${name}`)];
  const files = new Map(pages.flatMap(page => [...blocks(page)]));
  assert.ok(files.size >= 3, `${files.size} blocks`);
  assert.equal(mistakes(files), '');
});

test('a mistake in such a block is found', () => {
  const files = new Map([[`${here}x/a.tsx`, `import { connect } from 'socketiojwt-client';\nexport const a = <p>{connect(1)}</p>;\n`]]);
  assert.match(mistakes(files), /a\.tsx\(2,.*error TS/);
});
