import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { DISK_LIST_FILE, DiskList } from '../../../src/daemon/disk-list.js';

function withDir(body: (dir: string) => void): () => void {
  return () => {
    const dir = mkdtempSync(join(tmpdir(), 'sheepfold-disks-'));
    try {
      body(dir);
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  };
}

test(
  'without a list objects are looked for where the command line says, or in the own directory',
  withDir((dir) => {
    const list = new DiskList(dir);
    assert.equal(list.paths([]), [dir]);
    assert.equal(list.paths(['/a', '/b', '/a']), ['/a', '/b']);
    assert.is(list.exists, false);
  }),
);

test(
  'a sheep with its own directory alone keeps no list',
  withDir((dir) => {
    const list = new DiskList(dir);
    list.save([dir]);
    assert.is(new DiskList(dir).exists, false);
  }),
);

test(
  'a start without options finds what was plugged in, and not what was taken out',
  withDir((dir) => {
    const list = new DiskList(dir);
    list.save([dir, '/a', '/b']);
    list.save([dir, '/b'], ['/a']);
    const next = new DiskList(dir);
    assert.equal(next.paths([]), [dir, '/b']);
    // A start script that still names it does not bring it back; a new one is taken in.
    assert.equal(next.paths([dir, '/a', '/c']), [dir, '/b', '/c']);
    assert.equal(next.ignored(['/a', '/c']), ['/a']);
    assert.ok(next.has('/b'));
    assert.not(next.has('/a'));
  }),
);

test(
  'what is plugged in again counts again',
  withDir((dir) => {
    const list = new DiskList(dir);
    list.save([dir], ['/a']);
    list.save([dir, '/a']);
    assert.equal(new DiskList(dir).ignored(['/a']), []);
    const text = readFileSync(join(dir, DISK_LIST_FILE), 'utf8');
    assert.is(text, `{"version":1,"disks":[${JSON.stringify(dir)},"/a"],"out":[]}\n`);
  }),
);

test(
  'the list is written again when its directory was deleted',
  withDir((dir) => {
    const list = new DiskList(dir);
    list.save([dir, '/a']);
    rmSync(dir, { recursive: true });
    list.save(['/a'], [dir]);
    assert.equal(new DiskList(dir).paths([]), ['/a']);
  }),
);

test(
  'a damaged list and one of a newer program are refused',
  withDir((dir) => {
    writeFileSync(join(dir, DISK_LIST_FILE), '{"version":1,');
    assert.throws(() => new DiskList(dir), /damaged/);
    writeFileSync(join(dir, DISK_LIST_FILE), '{"version":2}');
    assert.throws(() => new DiskList(dir), /not of this version/);
  }),
);

test.run();
