import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { DogBench } from '../../helpers/run-dog.js';

const MIB = 1024 * 1024;
const test = suite<{ bench: DogBench }>('vdi-backup');
test.before.each(async (context) => {
  context.bench = await DogBench.start();
});
test.after.each(async (context) => {
  await context.bench.stop();
});

/** A volume with the snapshots b1 and b2, between which one sector changed. */
function withSnapshots(bench: DogBench): void {
  bench.cluster.add('bk', 12 * MIB, { snapshot: true, tag: 'b1', snapId: 1 });
  const to = bench.cluster.add('bk', 12 * MIB, { snapshot: true, tag: 'b2', snapId: 2 });
  to.bytes[600] = 1;
  bench.cluster.add('bk', 12 * MIB).bytes.fill('w');
}

test('backup writes what changed, and restore makes a snapshot of it', async ({ bench }) => {
  withSnapshots(bench);
  const backup = await bench.run('vdi backup bk -F b1 -s b2');
  assert.is(backup.stderr, '');
  assert.is(backup.stdoutBytes.length, 552);
  const restore = await bench.run('vdi restore bk -s b1 -v', { stdin: backup.stdoutBytes });
  assert.is(restore.stderr, '');
  assert.is(restore.stdout, 'restored as snapshot 3 of bk\n');
  const made = bench.cluster.find({ name: 'bk', snapId: 3 });
  assert.ok(made.bytes.equals(bench.cluster.find({ name: 'bk', tag: 'b2' }).bytes));
  assert.is(bench.cluster.find({ name: 'bk' }).bytes[0], 0x77, 'the volume itself stays as it was');
});

test('both snapshots have to be named', async ({ bench }) => {
  withSnapshots(bench);
  for (const line of ['vdi backup bk -F b1', 'vdi backup bk -s b2', 'vdi backup bk']) {
    const result = await bench.run(line);
    assert.is(result.exit, 64);
    assert.is(result.stderr, "Please specify snapshots with '-F' and '-s' options\n");
    assert.is(result.stdout, '');
  }
});

test('backup of what does not exist says what is missing', async ({ bench }) => {
  withSnapshots(bench);
  const of = async (line: string): Promise<string> => {
    const result = await bench.run(line);
    assert.is(result.exit, 1);
    assert.is(result.stdout, '');
    return result.stderr;
  };
  assert.is(
    await of('vdi backup -F b1 -s b2 nosuch'),
    'Failed to open VDI nosuch (snapshot id: 0 snapshot tag: b1): No VDI found\n',
  );
  const missing =
    'Failed to open VDI bk (snapshot id: 0 snapshot tag: nosuch): Failed to find requested tag\n';
  assert.is(await of('vdi backup -F nosuch -s b2 bk'), missing);
  assert.is(await of('vdi backup -F b1 -s nosuch bk'), missing);
});

test('a stream that is no backup changes nothing', async ({ bench }) => {
  withSnapshots(bench);
  const count = bench.cluster.vdis.length;
  for (const stdin of ['', 'garbage\n', Buffer.from('0100000092119211', 'hex')]) {
    const result = await bench.run('vdi restore bk -s b1', { stdin });
    assert.is(result.exit, 1);
    assert.is(result.stderr, 'The backup file is corrupted\n');
  }
  assert.is(bench.cluster.vdis.length, count);
  assert.is(bench.cluster.uploads.uploads.size, 0);
});

test('restore needs its base and the volume', async ({ bench }) => {
  const missing = await bench.run('vdi restore nosuch -s b1');
  assert.is(missing.exit, 1);
  assert.is(
    missing.stderr,
    'Failed to open VDI nosuch (snapshot id: 0 snapshot tag: b1): No VDI found\n' +
      "Snapshot ID 0 or tag b1 doesn't exist\n",
  );
  bench.cluster.add('bk', MIB, { snapshot: true, tag: 'b1', snapId: 1 });
  const alone = await bench.run('vdi restore bk -s b1');
  assert.is(alone.exit, 1);
  assert.is(alone.stderr, 'Failed to open VDI bk (snapshot id: 0 snapshot tag: ): No VDI found\n');
});

test('a backup of a larger volume is refused', async ({ bench }) => {
  withSnapshots(bench);
  const record = Buffer.concat([Buffer.from('01000000921192110900000000000000', 'hex'), Buffer.alloc(8)]);
  record.writeUInt32LE(512, 16);
  const stream = Buffer.concat([record, Buffer.alloc(512, 'x')]);
  const result = await bench.run('vdi restore bk -s b1', { stdin: stream });
  assert.is(result.exit, 1);
  assert.match(result.stderr, /^The backup is of a larger volume; nothing was changed\n/);
  assert.is(bench.cluster.uploads.uploads.size, 0);
});

test.run();
