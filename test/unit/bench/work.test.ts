import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parseOptions } from '../../bench/options.js';
import { bootReads } from '../../bench/work/boot-reads.js';
import { chooseWork } from '../../bench/work/choice.js';
import { goldenBytes } from '../../bench/work/clones.js';
import { intoWords, outWords } from '../../bench/work/convert.js';
import { dataBytesIn, discardBytes } from '../../bench/work/discard.js';
import { guestCommand } from '../../bench/work/guest.js';
import { guestWords } from '../../bench/work/guest-machine.js';
import { mixedResult, mixedWords } from '../../bench/work/mixed.js';
import { nbdcopyMissing } from '../../bench/work/nbdcopy.js';
import { ioProgram, ioWords } from '../../bench/work/qemu-io.js';
import { durationCell, less, rateCell, robbedShare } from '../../bench/work/taken.js';

const MIB = 2 ** 20;
const choose = (only: string) => chooseWork(64 * MIB, only);
const figuresOf = (only: string) =>
  choose(only)!.works.flatMap(({ figures }) => figures.map(({ name }) => name));

test('--work alone has no other rows, and with --peers all of them', () => {
  const parse = (words: string[]) => parseOptions(words, () => true)!;
  const alone = parse(['--work', '--targets', 'ceph']);
  assert.is(alone.rows.length, 0);
  assert.is(alone.peers?.snapshots, false);
  assert.equal(alone.peers?.targets, ['sheepfold', 'ceph']);
  assert.ok(alone.peers!.work!.works.length >= 6);
  const both = parse(['--work', '--peers']);
  assert.is(both.rows.length, 6);
  assert.is(both.peers?.snapshots, true);
  assert.is(parse(['--peers']).peers?.work, undefined);
  assert.throws(() => parse(['--work', '--only', 'no such row']), /no row/);
});

test('other work is chosen by a part of its name, rows of Sheepfold alone by their table too', () => {
  assert.equal(figuresOf('nbdcopy').length, 2);
  assert.equal(choose('nbdcopy')!.doorRows, []);
  const sheep = choose('6 sheep: 1 MiB')!;
  assert.is(sheep.works.length + sheep.doorRows.length, 0);
  assert.is(sheep.sheepCountRows.length, 2);
  assert.is(choose('sheepdog door')!.doorRows.length, 3);
  assert.is(choose('no such row'), undefined);
});

test('every row of other work has a name of its own', () => {
  const names = figuresOf('');
  assert.is(new Set(names).size, names.length);
});

test('a guest reads 16 MiB of its image while it boots, and never beyond its end', () => {
  for (const imageBytes of [64 * MIB, 101 * MIB, 512 * MIB]) {
    const reads = bootReads(imageBytes).map(
      (line) => line.split(' ').slice(2).map(Number) as [number, number],
    );
    assert.is(
      reads.reduce((sum, [, bytes]) => sum + bytes, 0),
      16 * MIB,
    );
    assert.ok(reads.every(([at, bytes]) => at % bytes === 0 && at + bytes <= imageBytes));
    assert.is(new Set(reads.map(([at, bytes]) => `${at} ${bytes}`)).size, reads.length);
  }
});

test('a discard is of a GiB at most, and what is left is counted in its area alone', () => {
  assert.is(discardBytes(64 * MIB), 64 * MIB);
  assert.is(discardBytes(2 ** 40), 2 ** 30);
  const map = [
    { start: 0, length: 10, data: false },
    { start: 10, length: 20, data: true },
    { start: 30, length: 70, data: true },
  ];
  assert.is(dataBytesIn(JSON.stringify(map), 50), 40);
  assert.is(dataBytesIn(JSON.stringify(map), 10), 0);
  assert.is(goldenBytes(2 ** 40), 512 * MIB);
});

test('qemu-io passes discards on, and is of the same build as the qemu-img of the target', () => {
  assert.equal(ioWords({ uri: 'u' }), ['-f', 'raw', '-d', 'unmap', '-t', 'writeback', 'u']);
  assert.is(ioProgram({ uri: 'u' }), 'qemu-io');
  assert.is(ioProgram({ uri: 'u', qemuImg: '/old/bin/qemu-img' }), '/old/bin/qemu-io');
});

test('a copy into a volume makes none and flushes at the end; nbdcopy needs an NBD server', () => {
  assert.match(intoWords('s', { uri: 'u' }).join(' '), /^convert -n .*-t writeback s u$/);
  assert.match(outWords({ file: '/f' }, 'c').join(' '), /^convert -f raw -O raw \/f c$/);
  assert.is(
    nbdcopyMissing({ uri: 'nbd+unix:///x' }, () => true),
    undefined,
  );
  assert.match(nbdcopyMissing({ uri: 'nbd+unix:///x' }, () => false)!, /needs nbdcopy/);
  assert.match(nbdcopyMissing({ uri: 'rbd:x' }, () => true)!, /NBD only/);
  assert.match(nbdcopyMissing({}, () => true)!, /NBD only/);
});

test('fio mixes reads and writes, and what it did is read out of its answer', () => {
  const words = mixedWords({ uri: 'nbd://x' }, 1.5);
  for (const word of ['--rwmixread=70', '--fsync=32', '--runtime=1500ms', '--uri=nbd://x'])
    assert.ok(words.includes(word), word);
  const side = (total_ios: number, p99Ns: number) => ({
    ...{ total_ios, runtime: 2000 },
    clat_ns: { percentile: { '99.000000': p99Ns } },
  });
  const sides = { read: side(70, 5000), write: side(30, 9000), sync: { total_ios: 1 } };
  const output = (job: object) => JSON.stringify({ jobs: [job] }, undefined, 1);
  const expected = { operations: 100, operationsPerSecond: 50, readP99Us: 5, writeP99Us: 9 };
  assert.equal(mixedResult(output(sides)), expected);
  assert.throws(() => mixedResult(output({ ...sides, sync: { total_ios: 0 } })), /did no sync/);
});

test('a guest has the volume as its disk, without a cache of the host, and runs fio on it', () => {
  const files = { kernel: '/k', initrd: '/i', root: '/r' };
  const words = guestWords({ uri: 'rbd:a/b,c' }, files, '/s').join(' ');
  assert.match(words, /-drive file=rbd:a\/b,,c,format=raw,if=virtio,cache=none,discard=unmap$/);
  assert.match(words, /-kernel \/k -initrd \/i .*-serial null -serial unix:\/s,server=on,wait=off/);
  assert.match(
    guestCommand(2),
    /^fio .*--rwmixread=70 .*--runtime=2000ms .*--filename=\/dev\/vda .*--direct=1$/,
  );
});

test('what a command costs without its start is no figure when nothing is left, and theft from both counts', () => {
  const taken = { ms: 300, cpuMs: 50, stolenShare: 0.1 };
  const start = { ms: 100, cpuMs: 60, stolenShare: 0.02 };
  const rest = less(taken, start)!;
  assert.is(rest.ms, 200);
  assert.is(rest.cpuMs, 0);
  assert.ok(Math.abs(rest.stolenShare - 0.08) < 1e-9);
  assert.is(less(start, taken), undefined);
  const ticks = (total: number, stolen: number) => ({ total, stolen, idle: 0 });
  assert.is(robbedShare(ticks(100, 5), ticks(120, 6)), 0);
  assert.is(robbedShare(ticks(100, 5), ticks(120, 8)), 0.1);
  assert.equal(durationCell(taken), { value: 300, cpu: 50, stolenShare: 0.1 });
  assert.equal(rateCell(taken, 30e6), { value: 100, cpu: 50 / 30, stolenShare: 0.1 });
});

test.run();
