import { closeSync, createReadStream, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { DogBench, type DogResult, dog } from '../../helpers/run-dog.js';

interface Bench {
  bench: DogBench;
}
const test = suite<Bench>('vdi');
test.before.each(async (context) => {
  context.bench = await DogBench.start();
});
test.after.each(async (context) => {
  await context.bench.stop();
});

function expect(
  result: DogResult,
  exit: number,
  stdout: string | RegExp,
  stderr: string | RegExp = '',
): void {
  const check = (text: string, wanted: string | RegExp, what: string): void => {
    if (typeof wanted === 'string') assert.is(text, wanted, what);
    else assert.match(text, wanted, what);
  };
  check(result.stderr, stderr, 'stderr');
  check(result.stdout, stdout, 'stdout');
  assert.is(result.exit, exit, 'exit');
}

const heading =
  '  Name        Id    Size    Used  Shared    Creation time   VDI id  Copies  Tag   Block Size Shift\n';

test('create makes a volume and prints nothing, or its id with -v', async ({ bench }) => {
  expect(await bench.run('vdi create alpha 128M'), 0, '');
  expect(await bench.run('vdi create beta 64M -v'), 0, 'VDI ID of newly created VDI: 101\n');
  expect(await bench.run('vdi create gamma 64M -r -v'), 0, '102\n');
  assert.is(bench.cluster.find({ name: 'alpha' }).info.sizeBytes, 134217728);
});

test('create of a name that exists ends with the words other programs match', async ({ bench }) => {
  bench.cluster.add('alpha', 1);
  expect(await bench.run('vdi create alpha 1G'), 1, '', 'Failed to create VDI alpha: VDI exists already\n');
});

test('create refuses what cannot be, each with its reason', async ({ bench }) => {
  expect(await bench.run('vdi create zero 0'), 1, '', /its size is 0/);
  expect(await bench.run('vdi create', { args: ['', '1G'] }), 1, '', /must not be empty/);
  expect(await bench.run(`vdi create ${'x'.repeat(256)} 1G`), 1, '', /longer than 255/);
  expect(await bench.run('vdi create a 4GB'), 64, '', /Invalid size '4GB'/);
  expect(await bench.run('vdi create a 5T'), 1, '', /larger than 4398046511104 bytes/);
  expect(await bench.run('vdi create a 1G -c 5'), 1, '', /copies \(5\) is larger than number of zones \(3\)/);
  expect(
    await bench.run('vdi create a 1G -c 3:1'),
    1,
    '',
    /^Invalid parameter 3:1\nTo create replicated vdi/,
  );
  expect(await bench.run('vdi create a 1G -c 4:2'), 1, '', /Erasure coding/);
  expect(await bench.run('vdi create a 1G -z 19'), 1, '', /^Object Size is larger than 2\^20/);
  expect(await bench.run('vdi create a 1G -z 32'), 1, '', /^Object Size is limited to 2\^31/);
  assert.is(bench.cluster.vdis.length, 0);
});

test('create on an unformatted cluster says what is awaited', async ({ bench }) => {
  bench.cluster.status = 'wait-for-format';
  expect(
    await bench.run('vdi create x 1G'),
    1,
    '',
    'Failed to create VDI x: Waiting for cluster to be formatted\n',
  );
});

test('list prints the table, one volume with NAME, and only the heading for a name that is not there', async ({
  bench,
}) => {
  bench.cluster.add('alpha', 2 ** 27);
  bench.cluster.add('beta', 2 ** 26);
  const all = await bench.run('vdi list');
  assert.ok(all.stdout.startsWith(heading));
  assert.is(all.stdout.split('\n').length, 4);
  assert.is((await bench.run('vdi list beta')).stdout.split('\n').length, 3);
  expect(await bench.run('vdi list nosuch'), 0, heading);
  expect(await bench.run('vdi list nosuch -r'), 0, '');
  expect(await bench.run('vdi list beta -r'), 0, /^= beta 0 67108864 0 0 1795391743 101 3 {2}22\n$/);
});

test('list takes options before and after the name, and the address from the environment', async ({
  bench,
}) => {
  bench.cluster.add('alpha', 2 ** 27);
  const words = ['vdi', 'list', '-r', '-a', '127.0.0.1', '-p', String(bench.port), 'alpha'];
  assert.match((await dog(words)).stdout, /^= alpha/);
  const env = { SHEEPDOG_DOG_ADDR: '127.0.0.1', SHEEPDOG_DOG_PORT: String(bench.port) };
  assert.match((await dog(['vdi', 'list', 'alpha', '-r'], { env })).stdout, /^= alpha/);
  assert.match((await dog(['-p', String(bench.port), 'vdi', 'list', '-r'])).stdout, /^= alpha/);
});

test('list of an unformatted cluster is empty', async ({ bench }) => {
  bench.cluster.status = 'wait-for-format';
  expect(await bench.run('vdi list'), 0, heading);
});

test('list -o shows the volumes that refer to an object', async ({ bench }) => {
  bench.cluster.add('alpha', 2 ** 27);
  expect(await bench.run('vdi list -r -o 00ed202b00000031'), 0, /^= alpha/);
  expect(await bench.run('vdi list -r -o 00ed202b00000032'), 0, '');
  expect(await bench.run('vdi list -r -o xyz'), 1, '', 'object id must be a hex integer\n');
});

test('--json prints exact numbers', async ({ bench }) => {
  bench.cluster.add('alpha', 1000001);
  assert.is(JSON.parse((await bench.run('vdi list --json')).stdout)[0].sizeBytes, 1000001);
  assert.is(JSON.parse((await bench.run('vdi info alpha --json')).stdout).sizeBytes, 1000001);
  assert.is(JSON.parse((await bench.run('vdi create beta 5 --json')).stdout).name, 'beta');
});

test('snapshot, clone, rollback and delete print what the original prints', async ({ bench }) => {
  bench.cluster.add('alpha', 2 ** 22);
  expect(await bench.run('vdi snapshot -s s1 alpha'), 0, '');
  const words = 'new VID of original VDI: 102, VDI ID of newly created snapshot: 101\n';
  expect(await bench.run('vdi snapshot -s s2 alpha -v'), 0, words);
  expect(await bench.run('vdi snapshot alpha -r -v'), 0, '103 102\n');
  expect(await bench.run('vdi clone -s s1 alpha cl1'), 0, '');
  expect(await bench.run('vdi clone -s 2 alpha cl2 -v'), 0, 'VDI ID of newly created clone: 105\n');
  expect(await bench.run('vdi rollback -f -s s1 alpha'), 0, '');
  expect(await bench.run('vdi delete alpha -s s1'), 0, '');
  expect(await bench.run('vdi delete cl1'), 0, '');
});

test('snapshot errors keep the words other programs match', async ({ bench }) => {
  bench.cluster.add('alpha', 1);
  await bench.run('vdi snapshot -s s1 alpha');
  const existed = 'Failed to create snapshot for alpha, maybe snapshot id (0) or tag (s1) is existed\n';
  expect(await bench.run('vdi snapshot -s s1 alpha'), 1, '', existed);
  expect(
    await bench.run('vdi snapshot -s s1 nosuch'),
    1,
    '',
    'Failed to create snapshot for nosuch: No VDI found\n',
  );
  expect(await bench.run('vdi snapshot -s 12 alpha'), 64, '', /non-integer/);
});

test('clone errors tell the source from the new name', async ({ bench }) => {
  bench.cluster.add('alpha', 1);
  await bench.run('vdi snapshot -s s1 alpha');
  expect(
    await bench.run('vdi clone -s s1 alpha alpha'),
    1,
    '',
    'Failed to create VDI alpha: VDI exists already\n',
  );
  const none = 'Failed to open VDI nosuch (snapshot id: 0 snapshot tag: s1): No VDI found\n';
  expect(await bench.run('vdi clone -s s1 nosuch cl7'), 1, '', none);
  const tag =
    'Failed to open VDI alpha (snapshot id: 0 snapshot tag: nosuch): Failed to find requested tag\n';
  expect(await bench.run('vdi clone -s nosuch alpha cl7'), 1, '', tag);
  expect(await bench.run('vdi clone alpha cl7'), 64, '', /'-s' option/);
});

test('rollback asks, and a no or the end of the input does nothing and exits 1', async ({ bench }) => {
  bench.cluster.add('alpha', 1);
  await bench.run('vdi snapshot -s s1 alpha');
  for (const stdin of ['', 'no\n', 'y\n']) {
    const result = await bench.run('vdi rollback -s s1 alpha', { stdin });
    assert.is(result.exit, 1);
    assert.match(
      result.stdout,
      /^This operation discards any changes made since the previous\nsnapshot was taken\. {2}Continue\? \[yes\/no\]: /,
    );
  }
  assert.not.ok(bench.cluster.calls.includes('vdi.rollback'));
  assert.is((await bench.run('vdi rollback -s s1 alpha', { stdin: 'Yes\n' })).exit, 0);
  assert.ok(bench.cluster.calls.includes('vdi.rollback'));
});

test('delete fails with exit 1 when it fails', async ({ bench }) => {
  bench.cluster.add('alpha', 1);
  const none = 'Failed to open VDI nosuch (snapshot id: 0 snapshot tag: ): No VDI found\n';
  expect(await bench.run('vdi delete nosuch'), 1, '', none);
  const tag =
    'Failed to open VDI alpha (snapshot id: 0 snapshot tag: nosuch): Failed to find requested tag\n';
  expect(await bench.run('vdi delete -s nosuch alpha'), 1, '', tag);
  expect(await bench.run('vdi delete -s 0 alpha'), 1, '', /larger than zero/);
});

test('resize grows only', async ({ bench }) => {
  bench.cluster.add('alpha', 2 ** 20);
  expect(await bench.run('vdi resize alpha 2M'), 0, '');
  expect(await bench.run('vdi resize alpha 2M'), 0, '');
  expect(await bench.run('vdi resize alpha 1M'), 64, '', 'Shrinking VDIs is not implemented\n');
  expect(await bench.run('vdi resize alpha 5T'), 64, '', /^New VDI size is too large/);
  const none = 'Failed to open VDI nosuch (snapshot id: 0 snapshot tag: ): No VDI found\n';
  expect(await bench.run('vdi resize nosuch 256M'), 1, '', none);
});

test('rename moves a volume to a free name', async ({ bench }) => {
  bench.cluster.add('alpha', 1);
  bench.cluster.add('beta', 1);
  expect(await bench.run('vdi rename alpha gamma'), 0, '');
  expect(
    await bench.run('vdi rename beta gamma'),
    1,
    '',
    /^Failed to rename VDI beta to gamma: VDI exists already\n/,
  );
});

test('write puts exactly the bytes that come, and read gives them back', async ({ bench }) => {
  const vdi = bench.cluster.add('alpha', 8 * 2 ** 20);
  vdi.bytes.fill(0xaa);
  const data = Buffer.alloc(3 * 2 ** 20 + 12345);
  for (let i = 0; i < data.length; i++) data[i] = (i * 7) & 0xff;
  expect(await bench.run('vdi write alpha 1000001', { stdin: data }), 0, '');
  const result = await bench.run(`vdi read alpha 1000001 ${data.length}`);
  assert.is(Buffer.compare(result.stdoutBytes, data), 0);
  assert.is(vdi.bytes[1000000], 0xaa);
  assert.is(vdi.bytes[1000001 + data.length], 0xaa);
  assert.ok(bench.cluster.calls.includes('vdi.flush'));
});

test('short input is not padded', async ({ bench }) => {
  const vdi = bench.cluster.add('alpha', 4096);
  vdi.bytes.fill(1);
  expect(await bench.run('vdi write alpha 0 512', { stdin: 'abc' }), 0, '');
  assert.is(vdi.bytes.toString('latin1', 0, 5), 'abc\x01\x01');
});

test('input longer than LENGTH is cut there', async ({ bench }) => {
  const vdi = bench.cluster.add('alpha', 4096);
  expect(await bench.run('vdi write alpha 4 2', { stdin: 'hello' }), 0, '');
  assert.is(vdi.bytes.toString('latin1', 4, 8), 'he\0\0');
});

test('a range past the end is refused before anything is written', async ({ bench }) => {
  bench.cluster.add('alpha', 4096);
  expect(
    await bench.run('vdi write alpha 4096 6', { stdin: 'hello\n' }),
    1,
    '',
    /goes past its end.*nothing was written/,
  );
  expect(await bench.run('vdi write alpha 4094 6', { stdin: 'hello\n' }), 1, '', /nothing was written/);
  expect(await bench.run('vdi write alpha 5000', { stdin: 'hello\n' }), 1, '', /nothing was written/);
  assert.not.ok(bench.cluster.calls.includes('vdi.write'));
});

test('a file that is too long is refused before anything is written', async ({ bench }) => {
  bench.cluster.add('alpha', 4096);
  const directory = mkdtempSync(join(tmpdir(), 'dog-'));
  const path = join(directory, 'long');
  writeFileSync(path, Buffer.alloc(5000));
  const fd = openSync(path, 'r');
  try {
    const stdin = createReadStream(path, { fd, autoClose: false });
    Object.assign(stdin, { fd });
    const result = await bench.run('vdi write alpha', { stdin });
    expect(result, 1, '', /5000 bytes at offset 0 goes past its end/);
    assert.not.ok(bench.cluster.calls.includes('vdi.write'));
  } finally {
    closeSync(fd);
    rmSync(directory, { recursive: true });
  }
});

test('a pipe that is too long fails and says how much was written', async ({ bench }) => {
  const vdi = bench.cluster.add('alpha', 2 ** 20 + 100);
  const result = await bench.run('vdi write alpha', { stdin: Buffer.alloc(3 * 2 ** 20, 5) });
  expect(result, 1, '', /The first 1048676 bytes were written, the rest was not/);
  assert.is(vdi.bytes.at(-1), 5);
});

test('a read past the end gives what is there', async ({ bench }) => {
  bench.cluster.add('alpha', 4096);
  expect(await bench.run('vdi read alpha 4096 10'), 0, '');
  assert.is((await bench.run('vdi read alpha 4094 10')).stdoutBytes.length, 2);
  const tag =
    'Failed to open VDI alpha (snapshot id: 0 snapshot tag: nosuch): Failed to find requested tag\n';
  expect(await bench.run('vdi read -s nosuch alpha 0 3'), 1, '', tag);
});

test('attributes are set, read, deleted, with the exit codes of the original', async ({ bench }) => {
  bench.cluster.add('alpha', 1);
  expect(await bench.run('vdi setattr alpha k1 v1'), 0, '');
  expect(await bench.run('vdi getattr alpha k1'), 0, 'v1');
  expect(await bench.run('vdi setattr -x alpha k1 v2'), 3, '', "The attribute 'k1' already exists\n");
  expect(await bench.run('vdi setattr alpha k2', { stdin: 'fromstdin' }), 0, '');
  expect(await bench.run('vdi getattr alpha k2'), 0, 'fromstdin');
  expect(await bench.run('vdi setattr -d alpha k1'), 0, '');
  expect(await bench.run('vdi setattr -d alpha k1'), 5, '', "Attribute 'k1' not found\n");
  expect(await bench.run('vdi getattr alpha k1'), 5, '', "Attribute 'k1' not found\n");
  expect(await bench.run('vdi getattr nosuch k1'), 5, '', 'VDI not found\n');
  expect(await bench.run('vdi setattr nosuch k1 v'), 5, '', 'VDI not found\n');
  expect(await bench.run('vdi setattr alpha big', { stdin: Buffer.alloc(70000) }), 1, '', /nothing was set/);
});

test('object location and map print what the original prints', async ({ bench }) => {
  bench.cluster.add('alpha', 2 ** 24);
  expect(
    await bench.run('vdi object location alpha -i 1'),
    0,
    `Looking for the object 0000100000000001 (vid 0x100 idx 1, 3 copies) with 3 nodes

127.0.0.1:7000 has the object
127.0.0.1:7001 doesn't have the object
127.0.0.1:7002 has the object

According to sheepdog algorithm, the object should be located at:
127.0.0.1:7002 127.0.0.1:7000
`,
  );
  assert.match(
    (await bench.run('vdi object location alpha')).stdout,
    /^Looking for the inode object 0x100 with 3 nodes\n/,
  );
  expect(
    await bench.run('vdi object map alpha'),
    0,
    'Index       VID\n00000000      100\n00000049   ed202b\n',
  );
  expect(await bench.run('vdi object location alpha -i 99999999'), 1, '', /past the end/);
  const none =
    'Failed to open VDI nosuch (snapshot id: 0 snapshot tag: ): No VDI found\nFATAL: no inode objects\n';
  expect(await bench.run('vdi object location nosuch'), 1, '', none);
});

test.run();
