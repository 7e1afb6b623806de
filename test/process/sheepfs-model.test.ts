/** Random operations on a file of sheepfs and on a plain one: they must never differ, nor after a mount. */
import { execFileSync } from 'node:child_process';
import { closeSync, fsyncSync, ftruncateSync, openSync, readSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { SeededRandom } from '../../src/base/random.js';
import { requires } from '../helpers/requires.js';
import { canMount, withMount } from '../helpers/sheepfs-mount.js';

const DEADLINE_MS = 120_000;
const STEPS = 400;
const LENGTH_MAX = 24 * 2 ** 20;
const PIECE_MAX = 300_000;

const withTools = canMount ? requires(test, 'fallocate') : requires(test, '/dev/fuse and root');

withTools('a file behaves like one on a plain folder', () =>
  withMount({ sheep: 1, copies: 1, deadlineMs: DEADLINE_MS }, async (mount, cluster) => {
    const seed = Math.floor(Math.random() * 2 ** 31);
    const random = new SeededRandom(seed);
    const paths = [mount.at('model'), join(cluster.folder, 'model')];
    let fds = paths.map((path) => openSync(path, 'w+'));
    const below = (limit: number) => random.u32() % limit;
    const both = <T>(work: (fd: number, path: string) => T): [T, T] => [
      work(fds[0]!, paths[0]!),
      work(fds[1]!, paths[1]!),
    ];
    for (let step = 0; step < STEPS; step++) {
      const offset = below(LENGTH_MAX - PIECE_MAX);
      const length = 1 + below(PIECE_MAX);
      const told = `seed ${seed}, step ${step}`;
      const kind = below(12);
      if (kind < 4) {
        const bytes = Buffer.alloc(length, step % 250);
        const at = kind === 0 ? statSync(paths[1]!).size % (LENGTH_MAX - PIECE_MAX) : offset;
        both((fd) => writeSync(fd, bytes, 0, length, at));
      } else if (kind < 7) {
        const [ours, plain] = both((fd) => {
          const bytes = Buffer.alloc(length);
          return bytes.subarray(0, readSync(fd, bytes, 0, length, offset));
        });
        assert.ok(ours.equals(plain), `${told}: read of ${length} at ${offset}`);
      } else if (kind === 7) both((fd) => ftruncateSync(fd, offset));
      else if (kind === 8) both((_, path) => fallocate(path, '--punch-hole', offset, length));
      else if (kind === 9) both((_, path) => fallocate(path, '--zero-range', offset, length));
      else if (kind === 10) both((fd) => fsyncSync(fd));
      else {
        both((fd) => closeSync(fd));
        if (below(4) === 0) {
          await mount.kill('SIGTERM');
          await mount.start();
        }
        fds = paths.map((path) => openSync(path, 'r+'));
      }
      const [ours, plain] = both((_, path) => statSync(path).size);
      assert.is(ours, plain, `${told}: length after ${kind}`);
    }
    both((fd) => closeSync(fd));
    execFileSync('cmp', paths);
  }),
);

function fallocate(path: string, mode: string, offset: number, length: number): void {
  execFileSync('fallocate', [mode, '--offset', String(offset), '--length', String(length), path]);
}

test.run();
