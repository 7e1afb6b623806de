import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';

/** The house rules, as far as a machine can keep them. */
const root = process.cwd();
const LINE_CHARACTERS_MAX = 120;
const FILE_LINES_MAX = 400;
const folders = ['src', 'test', 'scripts', '.ci', 'pool-backend', 'hooks', 'vagrant'];
const textFile = /\.(ts|mjs|js|sh|md|json|txt|yml|yaml)$|\/run$/;

function files(folder: string): string[] {
  if (!existsSync(join(root, folder))) return [];
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1))
    .filter((path) => textFile.test(path));
}

const own = [...folders.flatMap(files), 'README.md', 'CONTRIBUTING.md', 'CHANGELOG.md'].filter((path) =>
  existsSync(join(root, path)),
);
const read = (path: string): string => readFileSync(join(root, path), 'utf8');

/** The rows of a table cannot be broken. */
const isTooLong = (line: string): boolean => line.length > LINE_CHARACTERS_MAX && !line.startsWith('|');

/** Lines that break a rule, as `file:line`, so that a failure can be clicked. */
function offenders(paths: readonly string[], isWrong: (line: string) => boolean): string[] {
  return paths.flatMap((path) =>
    read(path)
      .split('\n')
      .flatMap((line, index) => (isWrong(line) ? [`${path}:${index + 1}`] : [])),
  );
}

test('no line is longer than 120 characters', () => {
  const prose = own.filter((path) => /\.(ts|mjs|sh)$|\/run$|^[A-Z]+\.md$/.test(path));
  assert.equal(offenders(prose, isTooLong), []);
});

test('no source file is longer than 400 lines', () => {
  const long = own.filter(
    (path) => /^(src|pool-backend)\//.test(path) && read(path).split('\n').length > FILE_LINES_MAX + 1,
  );
  assert.equal(long, []);
});

test('files end with one newline, and no line ends with blanks', () => {
  assert.equal(
    own.filter((path) => !/[^\n]\n$/.test(read(path))),
    [],
  );
  assert.equal(
    offenders(own, (line) => /[ \t]$/.test(line)),
    [],
  );
});

test('every folder of src and pool-backend has a README', () => {
  const missing = ['src', 'pool-backend'].flatMap((top) =>
    readdirSync(join(root, top), { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && readdirSync(join(root, top, entry.name)).length > 0)
      .filter((entry) => !existsSync(join(root, top, entry.name, 'README.md')))
      .map((entry) => `${top}/${entry.name}`),
  );
  assert.equal(missing, []);
});

test('nothing in src or pool-backend writes to the console', () => {
  const sources = own.filter((path) => /^(src|pool-backend)\/.*\.ts$/.test(path));
  assert.equal(
    offenders(sources, (line) => /\bconsole\.\w+\(/.test(line)),
    [],
  );
});

test('file names are kebab-case', () => {
  const wrong = own
    .filter((path) => path.endsWith('.ts'))
    .filter((path) => !/\/[a-z0-9]+([-.][a-z0-9]+)*\.ts$/.test(path));
  assert.equal(wrong, []);
});

test('the lock file and the configuration name no host of a registry', () => {
  assert.not.match(read('package-lock.json'), /"resolved"/);
  const names = ['.npmrc', 'package.json', 'README.md'].filter((path) => existsSync(join(root, path)));
  assert.equal(
    offenders(names, (line) => /registry\s*=|_authToken/.test(line)),
    [],
  );
});

test('the lock file lists the optional packages of every platform', () => {
  // npm drops those it cannot look up, silently; `npm ci` then calls the file out of step with package.json.
  const { packages } = JSON.parse(read('package-lock.json')) as {
    packages: Record<string, { optionalDependencies?: Record<string, string> }>;
  };
  const names = Object.values(packages).flatMap((entry) => Object.keys(entry.optionalDependencies ?? {}));
  assert.ok(names.length > 0);
  assert.equal(
    names.filter((name) => !(`node_modules/${name}` in packages)),
    [],
  );
});

test('no file names a directory of the machine it was written on', () => {
  // Put together here, so that this file does not break its own rule.
  const machine = new RegExp(
    ['/wo' + 'rk/(?:main|shared)', '/ro' + 'ot/', '/ho' + 'me/[a-z]+/(?!\\.local)'].join('|'),
  );
  assert.equal(
    offenders(own, (line) => machine.test(line)),
    [],
  );
});

test('every test file runs its tests', () => {
  const tests = own.filter((path) => path.endsWith('.test.ts'));
  assert.equal(
    tests.filter((path) => !/^\s*\w+\.run\(\);$/m.test(read(path))),
    [],
  );
});

test('scripts that package.json names are there', () => {
  const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
  for (const [name, command] of Object.entries(scripts)) {
    for (const [path] of command.matchAll(/\bscripts\/[\w.-]+/g))
      assert.ok(existsSync(join(root, path)), `${name}: ${path}`);
  }
});

test('every dependency has its sentence in the README', () => {
  const { dependencies, devDependencies } = JSON.parse(read('package.json'));
  const readme = read('README.md');
  for (const name of Object.keys({ ...dependencies, ...devDependencies })) {
    assert.ok(readme.includes(name.replace('@biomejs/', '')), name);
  }
});

test.run();
