import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { AppError } from '../../../src/base/errors.js';
import { DogBench } from '../../helpers/run-dog.js';

interface Context {
  bench: DogBench;
  folder: string;
}
const test = suite<Context>('image');
test.before.each(async (context) => {
  context.bench = await DogBench.start();
  context.folder = mkdtempSync(join(tmpdir(), 'sheepfold-image-'));
});
test.after.each(async (context) => {
  await context.bench.stop();
  rmSync(context.folder, { recursive: true, force: true });
});

function sample(bytes: number): Buffer {
  return Buffer.from(Array.from({ length: bytes }, (_, at) => (at * 7 + (at >> 8)) & 0xff));
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

test('a file becomes an image of its own name, and reads back as it was', async ({ bench, folder }) => {
  const bytes = sample(300_001);
  writeFileSync(join(folder, 'cd.iso'), bytes);
  const result = await bench.run(`image add ${join(folder, 'cd.iso')}`);
  assert.is(result.stderr, '');
  assert.is(result.stdout, `cd.iso: 0.3 MB, sha256:${sha256(bytes)}\n`);
  const { info } = bench.cluster.find({ name: 'cd.iso' });
  assert.is(info.sizeBytes % 512, 0, 'whole sectors');
  assert.equal(info.image, { contentBytes: 300_001, sha256: sha256(bytes) });
  const verified = await bench.run('image info cd.iso --verify');
  assert.match(verified.stdout, /Verified: +yes/);
  assert.is(verified.exit, 0);
});

test('standard input needs a name, and holes are not sent', async ({ bench }) => {
  assert.is((await bench.run('image add -')).exit, 64);
  const bytes = Buffer.concat([sample(4096), Buffer.alloc(3_000_000), sample(4096)]);
  const result = await bench.run('image add - piped', { stdin: bytes });
  assert.is(result.exit, 0);
  assert.is(bench.cluster.find({ name: 'piped' }).info.image?.sha256, sha256(bytes));
  assert.ok(bench.cluster.uploads.sentBytes < 20_000, `${bench.cluster.uploads.sentBytes} bytes were sent`);
});

test('a checksum that fits is accepted in both forms', async ({ bench }) => {
  const digits = sha256(sample(10));
  const prefixed = await bench.run(`image add - a --checksum sha256:${digits}`, { stdin: sample(10) });
  assert.is(prefixed.exit, 0);
  const bare = await bench.run(`image add - b --checksum ${digits.toUpperCase()}`, { stdin: sample(10) });
  assert.is(bare.exit, 0);
});

test('with a wrong checksum nothing is kept', async ({ bench }) => {
  const wrong = 'a'.repeat(64);
  const result = await bench.run(`image add - cd --checksum sha256:${wrong}`, { stdin: sample(10) });
  assert.is(result.exit, 1);
  assert.match(
    result.stderr,
    /^Failed to add image cd: checksum mismatch: sha256:aaaa.*; nothing was kept\n$/,
  );
  assert.is(bench.cluster.uploads.uploads.size, 0);
  assert.is(bench.cluster.vdis.length, 0);
});

test('a checksum that is none is refused before anything is sent', async ({ bench }) => {
  for (const text of ['md5:00', 'sha256:xyz', 'sha512:00']) {
    const result = await bench.run(`image add - cd --checksum ${text}`, { stdin: sample(10) });
    assert.is(result.exit, 64);
  }
  assert.equal(bench.cluster.calls, []);
});

test('a name that is taken ends with 3', async ({ bench }) => {
  bench.cluster.add('cd', 512);
  const result = await bench.run('image add - cd', { stdin: sample(10) });
  assert.is(result.exit, 3);
  assert.is(result.stderr, 'Failed to add image cd: VDI exists already\n');
});

test('a full cluster ends with 4 and nothing is kept', async ({ bench }) => {
  bench.cluster.uploads.writeFailure = new AppError('no-space', 'no room');
  const result = await bench.run('image add - cd', { stdin: sample(3_000_000) });
  assert.is(result.exit, 4);
  assert.match(result.stderr, /^Failed to add image cd: Server has no space for new objects/);
  assert.is(bench.cluster.uploads.uploads.size, 0);
});

test('what cannot be read is told before the cluster hears of it', async ({ bench, folder }) => {
  const absent = await bench.run('image add /nosuch/file');
  assert.is(absent.exit, 1);
  assert.is(absent.stderr, 'Failed to open /nosuch/file: No such file or directory\n');
  assert.match((await bench.run(`image add ${folder}`)).stderr, /Is a directory/);
  writeFileSync(join(folder, 'empty'), '');
  assert.match((await bench.run(`image add ${join(folder, 'empty')}`)).stderr, /is empty/);
  assert.equal(bench.cluster.calls, []);
});

test('a file that is not as long as it said is not kept', async ({ bench }) => {
  // The system claims a page for it and gives a few characters.
  const result = await bench.run('image add /sys/devices/system/cpu/online cd');
  assert.is(result.exit, 1);
  assert.match(result.stderr, /changed while it was read; nothing was kept/);
  assert.is(bench.cluster.uploads.uploads.size, 0);
});

test('an empty standard input leaves nothing', async ({ bench }) => {
  const result = await bench.run('image add - cd', { stdin: '' });
  assert.is(result.exit, 1);
  assert.match(result.stderr, /the input is empty; nothing was kept/);
  assert.is(bench.cluster.uploads.uploads.size, 0);
});

test('list shows images only, in three forms', async ({ bench }) => {
  bench.cluster.add('volume', 512);
  bench.cluster.add('my cd', 1024 * 1024, { image: { contentBytes: 1024 * 1024, sha256: 'b'.repeat(64) } });
  const table = await bench.run('image list');
  assert.match(
    table.stdout,
    /^Name {9}Size {2}Added {13}SHA-256\nmy cd {6}1\.0 MB {2}2026-11-2\d \d\d:\d\d {2}b{64}\n$/,
  );
  const raw = await bench.run('image list -r');
  assert.is(raw.stdout, `my\\ cd 1048576 ${'b'.repeat(64)} 1795391743 101\n`);
  assert.is(JSON.parse((await bench.run('image list --json')).stdout).length, 1);
});

test('remove deletes images and nothing else', async ({ bench }) => {
  bench.cluster.add('volume', 512);
  bench.cluster.add('cd', 512, { image: { contentBytes: 512, sha256: 'b'.repeat(64) } });
  assert.is((await bench.run('image remove cd')).exit, 0);
  assert.is((await bench.run('image remove cd')).exit, 5);
  const volume = await bench.run('image remove volume');
  assert.is(volume.exit, 1);
  assert.match(volume.stderr, /volume is a volume, not an image/);
  assert.is(bench.cluster.vdis.length, 1);
});

test('verify tells a content that has changed', async ({ bench }) => {
  const made = bench.cluster.add('cd', 512, { image: { contentBytes: 512, sha256: 'b'.repeat(64) } });
  made.bytes[0] = 1;
  const result = await bench.run('image info cd --verify');
  assert.is(result.exit, 1);
  assert.match(result.stderr, /^Image cd has sha256:[0-9a-f]{64} instead of sha256:b{64}\n$/);
});

test.run();
