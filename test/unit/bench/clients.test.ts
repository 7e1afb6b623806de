import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { fioEngines, fioResult, fioWords, qemuImgSeconds, qemuImgWords } from '../../bench/clients.js';
import { morePeerRows, peerRows } from '../../bench/peers/rows.js';
import { workloads } from '../../bench/workloads.js';

const MIB = 2 ** 20;
const rows = [...peerRows(64 * MIB), ...morePeerRows(64 * MIB), ...workloads];
const rowNamed = (name: string) => rows.find((row) => row.name === name)!;

test('the time of qemu-img bench is read out of its answer, and is never nothing', () => {
  const output = 'Sending 4 write requests, 4096 bytes each\nRun completed in 1.250 seconds.\n';
  assert.is(qemuImgSeconds(output), 1.25);
  assert.is(qemuImgSeconds('Run completed in 0.000 seconds.'), 0.001);
  assert.throws(() => qemuImgSeconds('Failed to open'), /said something else/);
});

test('a flush follows each write at depth 1, and at other depths writes carry FUA', () => {
  const single = qemuImgWords({ uri: 'u' }, rowNamed('4 KiB durable write, depth 1'), 10).join(' ');
  assert.match(single, /-w .*--flush-interval=1 -t writeback u$/);
  const deep = qemuImgWords({ uri: 'u' }, rowNamed('4 KiB durable write, depth 32'), 10).join(' ');
  assert.match(deep, /-d 32 .*-t writethrough u$/);
  assert.not.match(deep, /flush/);
});

test('a flush may follow more writes than are under way', () => {
  for (const row of [...morePeerRows(64 * MIB)].filter(({ durable }) => durable === 'flush')) {
    const words = qemuImgWords({ uri: 'u' }, row, 10).join(' ');
    assert.match(words, new RegExp(`--flush-interval=${row.flushEvery ?? row.depth} -t writeback u$`));
    // qemu-img refuses others.
    assert.ok((row.flushEvery ?? row.depth) >= row.depth);
  }
});

test('scattered requests have a step and begin at a block of the volume', () => {
  const words = qemuImgWords({ uri: 'u' }, rowNamed('4 KiB scattered read, depth 1'), 10);
  const after = (option: string) => Number(words[words.indexOf(option) + 1]);
  assert.ok(after('-S') > MIB && after('-S') % 4096 === 0);
  assert.ok(after('-o') < 64 * MIB && after('-o') % 4096 === 0);
  assert.not.ok(qemuImgWords({ uri: 'u' }, rowNamed('1 MiB read, depth 8'), 10).includes('-S'));
});

test('fio goes to NBD, to a file, or by the engine that a target names', () => {
  const row = rowNamed('4 KiB random read, depth 32');
  assert.ok(fioWords({ uri: 'nbd://x' }, row, 1).includes('--uri=nbd://x'));
  assert.ok(fioWords({ file: '/f' }, row, 1).includes('--filename=/f'));
  const own = fioWords({ uri: 'rbd:x', fio: { words: ['--ioengine=rbd'], env: {} } }, row, 1);
  assert.ok(own.includes('--ioengine=rbd') && !own.some((word) => word.startsWith('--uri')));
});

test('the figures of fio are read behind what its engine says first', () => {
  const side = {
    total_ios: 7,
    runtime: 500,
    clat_ns: { percentile: { '50.000000': 1500, '99.000000': 9000 } },
  };
  const output = `an engine's line\n${JSON.stringify({ jobs: [{ read: side }] }, undefined, 1)}`;
  assert.equal(fioResult(output, 'read'), {
    operations: 7,
    seconds: 0.5,
    latencyP50Us: 1.5,
    latencyP99Us: 9,
  });
  assert.throws(() => fioResult(output, 'write'), /did nothing/);
});

test('engines are the indented names', () => {
  assert.equal(fioEngines('Available IO engines:\n\tnbd\n\trbd\n'), ['nbd', 'rbd']);
});

test.run();
