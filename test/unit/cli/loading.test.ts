import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { Command } from 'commander';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { allParts, catalog, partsNamed } from '../../../src/cli/catalog.js';
import { dogMain } from '../../helpers/launcher.js';
import { dog } from '../../helpers/run-dog.js';

const PROCESS_DEADLINE_MS = 30_000;
/** More than a command needs, far less than all: dog had 300 once. */
const MODULES_MAX = 60;

/** Tells each module that is loaded on standard error. */
const hooks = `
import { writeSync } from 'node:fs';
export async function load(url, context, next) {
  writeSync(2, 'loads ' + url + '\\n');
  return next(url, context);
}`;
const dataUrl = (source: string): string => `data:text/javascript,${encodeURIComponent(source)}`;
const register = dataUrl(
  `import { register } from 'node:module'; register(${JSON.stringify(dataUrl(hooks))});`,
);

/** Names of the modules that one command line loads, node's own among them. */
async function modulesOf(argv: readonly string[]): Promise<string[]> {
  const args = ['--import', register, dogMain, ...argv];
  const run = promisify(execFile)(process.execPath, args, { timeout: PROCESS_DEADLINE_MS });
  const { stderr } = await run.catch((error: { stderr: string }) => error);
  return [...stderr.matchAll(/^loads (.*)$/gm)].map(([, url]) => url!);
}

test('the catalog names the commands that each file adds, and no others', async () => {
  for (const { name, parts } of catalog) {
    for (const part of parts) {
      const parent = new Command('parent');
      (await part.load())(parent, () => {});
      const added = parent.commands.map((command) => command.name());
      assert.equal(added.sort(), [...part.commands].sort(), `in ${name}: ${part.commands.join(' ')}`);
    }
  }
});

test('a command line loads the files of the command it names', () => {
  const named = [...partsNamed(['-a', 'host', 'vdi', '--raw', 'list'])];
  assert.equal(
    named.map(({ commands }) => commands),
    [['list', 'tree', 'info']],
  );
  assert.is(partsNamed(['--version']).size, 0);
  assert.equal(partsNamed(['completion', 'bash']), allParts());
});

test('what a part of the commands does not understand is answered with all of them in mind', async () => {
  // Words of the operands name other commands here; a slip is compared with every command of its group.
  assert.match((await dog(['vdi', 'snapsot', 'list'])).stderr, /Did you mean snapshot/);
  for (const argv of [
    ['vdi', '--help', 'list'],
    ['vdi', '-rh', 'list'],
    ['help', 'vdi', 'list'],
  ]) {
    const { stdout, exit } = await dog(argv);
    assert.is(exit, 0, argv.join(' '));
    assert.match(stdout, /rollback .*\n[\s\S]*alter-copy/, argv.join(' '));
  }
});

test('no command loads what others need', async () => {
  const lines = ['--version', 'vdi snapshot -s tag name -p 1', 'vdi list -r -p 1', 'node list -p 1'];
  for (const line of lines) {
    const modules = await modulesOf(line.split(' '));
    assert.ok(
      modules.some((url) => url.endsWith('/cli/program.js')),
      `${line}: ${modules.length} modules`,
    );
    const heavy = modules.filter((url) => /\/(execa|pino|xml2js|cli-progress|@grpc)\/|readline/.test(url));
    assert.equal(heavy, [], line);
    assert.ok(modules.length <= MODULES_MAX, `${line} loads ${modules.length} modules`);
    const files = modules.filter((url) => url.includes('/cli/commands/'));
    // A command may use what a neighbour in the folder exports.
    assert.ok(files.length <= (line === '--version' ? 0 : 2), `${line}: ${files.join(' ')}`);
  }
});

test.run();
