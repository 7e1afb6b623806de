import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { joinLocalCluster, localClusterDirectory } from '../../../src/daemon/local-cluster.js';

async function withFolder(
  body: (home: string, store: (name: string) => string) => Promise<void>,
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'sheepfold-local-'));
  try {
    await body(join(folder, 'local'), (name) => join(folder, name));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function coordinatorWith(home: string, content: string): void {
  mkdirSync(join(home, 'coordinator'), { recursive: true });
  writeFileSync(join(home, 'coordinator', 'log'), content);
}

test('the directory is chosen by the option, then by the environment', () => {
  assert.is(localClusterDirectory('/a', { SHEEPFOLD_HOME: '/h' }), '/a');
  assert.is(localClusterDirectory('', { SHEEPFOLD_HOME: '/h' }), '/h/local');
  assert.match(localClusterDirectory('', {}), /sheepfold\/local$/);
});

test('every sheep is noted once', () =>
  withFolder(async (home, store) => {
    for (const name of ['a', 'b', 'a']) assert.is(await joinLocalCluster(home, store(name)), undefined);
    assert.is(readFileSync(join(home, 'stores'), 'utf8'), `${store('a')}\n${store('b')}\n`);
  }));

test('sheep that start at once find the same cluster', () =>
  withFolder(async (home, store) => {
    await Promise.all(['a', 'b', 'c', 'd'].map((name) => joinLocalCluster(home, store(name))));
    assert.is(readFileSync(join(home, 'stores'), 'utf8').split('\n').length, 5);
  }));

test('while one store is left the coordinator stays', () =>
  withFolder(async (home, store) => {
    for (const name of ['a', 'b']) await joinLocalCluster(home, store(name));
    coordinatorWith(home, 'names');
    rmSync(store('a'), { recursive: true });
    assert.is(await joinLocalCluster(home, store('a')), undefined);
    assert.ok(existsSync(join(home, 'coordinator', 'log')));
  }));

test('when all stores are gone a new cluster begins, and the coordinator is kept aside', () =>
  withFolder(async (home, store) => {
    for (const name of ['a', 'b']) await joinLocalCluster(home, store(name));
    coordinatorWith(home, 'names');
    for (const name of ['a', 'b']) rmSync(store(name), { recursive: true });
    const aside = await joinLocalCluster(home, store('b'));
    assert.is(readFileSync(join(aside!, 'log'), 'utf8'), 'names');
    assert.not(existsSync(join(home, 'coordinator')));
    assert.is(readFileSync(join(home, 'stores'), 'utf8'), `${store('b')}\n`);
    // The next one belongs to the new cluster.
    coordinatorWith(home, 'new');
    assert.is(await joinLocalCluster(home, store('a')), undefined);
    assert.is(readdirSync(home).filter((name) => name.startsWith('coordinator')).length, 2);
  }));

test.run();
