// run: quick
// deadline: 300 s
/** Each subcommand of today's qemu-img, and qemu-io, on sheepdog: names of a real cluster. */
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { VdiInfo } from '../../src/control/api.js';
import { RealCluster } from '../helpers/real-cluster.js';
import { requires } from '../helpers/requires.js';
import { assertRefused, helper, img, mustImg, mustIo } from './sheepdog-url-setup.js';

const MIB = 1024 * 1024;
const check = requires(test, 'qemu-img', 'qemu-io');

let cluster: RealCluster;
test.before(async () => {
  cluster = await RealCluster.start();
});
test.after(() => cluster?.stop());

/** Through any of the sheep. */
const url = (vdi: string, sheep = 0): string => `sheepdog:127.0.0.1:${cluster.sheep[sheep]!.port}:${vdi}`;
const info = (name: string): Promise<VdiInfo> => cluster.call('vdi.info', { name });
const file = (name: string): string => join(cluster.folder, name);

/** 3 MiB of noise, a hole, and 1 MiB of noise: 12 MiB. */
function sampleImage(name: string): string {
  const bytes = Buffer.alloc(12 * MIB);
  randomBytes(3 * MIB).copy(bytes);
  randomBytes(MIB).copy(bytes, 9 * MIB);
  writeFileSync(file(name), bytes);
  return file(name);
}

async function filled(vdi: string): Promise<string> {
  const image = sampleImage(`${vdi}.img`);
  await mustImg('convert', '-O', 'raw', image, url(vdi));
  return image;
}

check('create makes a volume and says what it formats', async () => {
  const name = url('created');
  assert.is(await mustImg('create', name, '64M'), `Formatting '${name}', fmt=raw size=67108864\n`);
  assert.is((await info('created')).sizeBytes, 64 * MIB);
  assert.is(await mustImg('create', '-q', '-f', 'sheepdog', url('odd', 1), '1000'), '');
  assert.is((await info('odd')).sizeBytes, 1024);
});

check('create passes redundancy, object size and preallocation on', async () => {
  const options = 'redundancy=2,preallocation=full,object_size=8M';
  const name = url('shaped');
  assert.is(
    await mustImg('create', '-o', options, name, '16M'),
    `Formatting '${name}', fmt=raw size=16777216 preallocation=full redundancy=2 object_size=8388608\n`,
  );
  const { copies, blockSizeShift, usedBytes } = await info('shaped');
  assert.equal({ copies, blockSizeShift, usedBytes }, { copies: 2, blockSizeShift: 23, usedBytes: 16 * MIB });
});

check('create clones a snapshot given as the backing file', async () => {
  const image = await filled('base');
  await mustImg('snapshot', '-c', 'gold', url('base'));
  await mustImg('create', '-b', url('base:gold'), '-F', 'sheepdog', url('clone'));
  await mustImg('create', '-o', `backing_file=${url('base:1')}`, url('large'), '20M');
  assert.is(
    (await info('clone')).parentVid,
    (await cluster.call('vdi.info', { name: 'base', tag: 'gold' })).vid,
  );
  assert.is(await mustImg('compare', '-f', 'raw', image, url('clone')), 'Images are identical.\n');
  assert.is((await info('large')).sizeBytes, 20 * MIB);
});

check('create refuses with the words of old', async () => {
  const [name, formatting] = [url('x'), `Formatting '${url('x')}', fmt=raw`];
  await mustImg('create', '-q', url('there'), '1M');
  assertRefused(
    await img('create', url('there'), '1M'),
    `qemu-img: ${url('there')}: VDI exists already, there`,
    `Formatting '${url('there')}', fmt=raw size=1048576\n`,
  );
  assertRefused(
    await img('create', name, '5T'),
    `qemu-img: ${name}: An image is too large. The maximum image size is 4096GB`,
    `${formatting} size=5497558138880\n`,
  );
  assertRefused(
    await img('create', '-b', url('there'), name),
    `qemu-img: ${name}: cannot clone from a non snapshot vdi`,
    `${formatting} size=1048576 backing_file=${url('there')}\n`,
  );
  assertRefused(
    await img('create', '-b', url('nope:tag'), name),
    `qemu-img: ${name}: cannot get vdi info, No vdi found, nope 0 tag\nCould not open backing image.`,
  );
  assertRefused(await img('create', name), `qemu-img: ${name}: Image creation needs a size parameter`);
});

check('info shows room and snapshots, as text and as JSON', async () => {
  await filled('shown');
  await mustImg('snapshot', '-c', 'monday', url('shown'));
  const text = await mustImg('info', url('shown', 1));
  const [snapshot] = await cluster.call('vdi.list', { name: 'shown' });
  assert.match(text, `image: ${url('shown', 1)}\nfile format: raw\nvirtual size: 12 MiB (12582912 bytes)\n`);
  assert.match(text, /^disk size: 8 MiB$/m);
  assert.match(
    text,
    /Snapshot list:\nID {8}TAG {15}VM SIZE {16}DATE {5}VM CLOCK {5}ICOUNT\n1 {9}monday {16}0 B /,
  );
  const json = JSON.parse(await mustImg('info', '--output=json', url('shown:monday', 2)));
  assert.is(json.filename, url('shown:monday', 2));
  assert.is(json['actual-size'], 8 * MIB);
  assert.equal(json.snapshots, [
    {
      'vm-clock-nsec': 0,
      name: 'monday',
      'date-sec': Math.floor(snapshot!.snapshotMs / 1000),
      'date-nsec': (snapshot!.snapshotMs % 1000) * 1e6,
      'vm-clock-sec': 0,
      id: '1',
      'vm-state-size': 0,
    },
  ]);
});

check('info tells what is missing with the words of old', async () => {
  await mustImg('create', '-q', url('known'), '1M');
  const refused = async (name: string, reason: string): Promise<void> =>
    assertRefused(await img('info', name), `qemu-img: Could not open '${name}': ${reason}`);
  await refused(url('nope'), 'cannot get vdi info, No vdi found, nope 0 ');
  await refused(url('known:nope'), 'cannot get vdi info, Failed to find the requested tag, known 0 nope');
  await refused(url('known:7'), 'cannot get vdi info, Failed to find the requested tag, known 7 ');
  await refused('sheepdog:127.0.0.1:1:x', "Failed to connect to '127.0.0.1:1': Connection refused");
});

check('every form of name leads to the volume', async () => {
  await mustImg('create', '-q', url('named'), '1M');
  await mustImg('snapshot', '-c', 'tag', url('named'));
  const { port } = cluster.sheep[0]!;
  const server = `"server":{"type":"inet","host":"127.0.0.1","port":"${port}"}`;
  const forms = [
    [`sheepdog://127.0.0.1:${port}/named`],
    [`sheepdog+tcp://localhost:${port}/named#tag`],
    [`sheepdog+tcp://127.0.0.1:${port}/%6eamed#1`],
    ['-f', 'sheepdog', url('named:tag')],
    [`json:{"driver":"sheepdog","vdi":"named",${server}}`],
    [`json:{"driver":"raw","file":{"driver":"sheepdog","vdi":"named","snap-id":1,"tag":"tag",${server}}}`],
    [
      '--image-opts',
      `driver=sheepdog,vdi=named,tag=tag,server.type=inet,server.host=127.0.0.1,server.port=${port}`,
    ],
  ];
  for (const words of forms) {
    const text = await mustImg('info', ...words);
    assert.match(text, `image: ${words.at(-1)}\n`);
    assert.match(text, '1 MiB (1048576 bytes)');
    assert.match(text, '1         tag');
  }
});

check('convert makes the target, with progress, and brings everything back', async () => {
  const image = sampleImage('source.img');
  const target = url('converted');
  const progress = await mustImg('convert', '-p', '-f', 'raw', '-O', 'raw', image, target);
  assert.match(progress, /\(100\.00\/100%\)\r/);
  // Holes stay holes.
  assert.is((await info('converted')).usedBytes, 8 * MIB);
  await mustImg('convert', '-f', 'raw', '-O', 'qcow2', url('converted', 2), file('back.qcow2'));
  assert.is(await mustImg('compare', '-f', 'qcow2', file('back.qcow2'), image), 'Images are identical.\n');
  await mustImg('convert', '-O', 'sheepdog', '-o', 'redundancy=1', file('back.qcow2'), url('again'));
  assert.is((await info('again')).copies, 1);
  assert.is(await mustImg('compare', url('again'), url('converted')), 'Images are identical.\n');
  assertRefused(
    await img('convert', image, target),
    `qemu-img: ${target}: error while converting raw: VDI exists already, converted`,
  );
});

check('convert fills an existing volume with -n, and reads snapshots with -l', async () => {
  const image = await filled('reused');
  await mustImg('snapshot', '-c', 'before', url('reused'));
  const other = sampleImage('other.img');
  await mustImg('convert', '-n', '-f', 'raw', '-O', 'raw', other, url('reused'));
  for (const l of ['before', '1', 'snapshot.name=before']) {
    await mustImg('convert', '-l', l, url('reused'), file('then.img'));
    assert.ok(readFileSync(file('then.img')).equals(readFileSync(image)), l);
  }
  await mustImg('convert', url('reused'), file('now.img'));
  assert.ok(readFileSync(file('now.img')).equals(readFileSync(other)));
});

check('convert leaves nothing behind when it fails', async () => {
  const image = sampleImage('compressed.img');
  assertRefused(
    await img('convert', '-c', image, url('failed')),
    'qemu-img: Compression not supported for this file format',
  );
  assert.equal(await cluster.call('vdi.list', { name: 'failed' }), []);
});

check('an image of another format may live inside a volume', async () => {
  const image = sampleImage('inner.img');
  await mustImg('convert', '-f', 'raw', '-O', 'qcow2', image, url('inside'));
  assert.match(await mustImg('info', url('inside')), /^file format: qcow2$/m);
  assert.is(await mustImg('compare', '-F', 'raw', url('inside'), image), 'Images are identical.\n');
  await mustImg('create', '-q', '-f', 'qcow2', url('empty'), '32M');
  assert.match(await mustImg('check', url('empty')), 'No errors were found on the image.\n');
});

check('check, map and measure are the real tool', async () => {
  await filled('mapped');
  const { exit, stderr } = await img('check', url('mapped'));
  assert.equal(
    { exit, stderr },
    { exit: 63, stderr: 'qemu-img: This image format does not support checks\n' },
  );
  const rows = JSON.parse(await mustImg('map', '--output=json', '-f', 'raw', url('mapped')));
  assert.equal(
    rows.filter((row: { data: boolean }) => row.data).map((row: { start: number }) => row.start),
    [0, 9 * MIB],
  );
  const text = await mustImg('map', '-f', 'raw', url('mapped'));
  assert.match(text, new RegExp(`^0 +0x300000 +0 +${url('mapped')}$`, 'm'));
  assert.is(
    await mustImg('measure', url('mapped')),
    'required size: 12582912\nfully allocated size: 12582912\n',
  );
});

check('compare tells the difference by its exit code', async () => {
  const image = await filled('compared');
  await mustIo(url('compared'), 'write -P 3 1M 4k');
  const { exit, stdout } = await img('compare', '-f', 'raw', '-F', 'raw', url('compared'), image);
  assert.equal({ exit, stdout }, { exit: 1, stdout: 'Content mismatch at offset 1048576!\n' });
  const missing = await img('compare', url('nope'), image);
  assert.is(missing.exit, 1);
});

check('dd makes its target as large as what it copies', async () => {
  const image = sampleImage('dd.img');
  await mustImg('dd', `if=${image}`, `of=${url('dd')}`, 'bs=1M', 'count=5', 'skip=2');
  await mustImg('dd', '-f', 'raw', `if=${url('dd')}`, `of=${file('dd.out')}`, 'bs=64k');
  assert.ok(readFileSync(file('dd.out')).equals(readFileSync(image).subarray(2 * MIB, 5 * MIB)));
  assertRefused(
    await img('dd', `if=${image}`, `of=${url('dd')}`),
    `qemu-img: ${url('dd')}: error while creating output image: VDI exists already, dd`,
  );
  assertRefused(
    await img('dd', 'if=/nowhere/x', `of=${url('dd2')}`),
    "qemu-img: Could not open '/nowhere/x': Could not open '/nowhere/x': No such file or directory",
  );
});

check('bench reads and writes', async () => {
  await mustImg('create', '-q', url('bench'), '8M');
  const text = await mustImg('bench', '-w', '-f', 'raw', '-c', '50', '-s', '4k', url('bench'));
  assert.match(text, /^Sending 50 write requests/);
});

check('commit and rebase work on an overlay over a volume', async () => {
  await mustImg('create', '-q', url('below'), '8M');
  await mustImg('create', '-q', url('other'), '8M');
  const overlay = file('overlay.qcow2');
  await mustImg('create', '-q', '-f', 'qcow2', '-b', url('below'), '-F', 'raw', overlay);
  assert.is((await helper('qemu-io', '-c', 'write -P 9 1M 64k', overlay)).exit, 0);
  assert.is(await mustImg('commit', overlay), 'Image committed.\n');
  await mustIo(url('below'), 'read -P 9 1M 64k');
  // What differs between the two backing files moves into the overlay.
  await mustImg('rebase', '-f', 'qcow2', '-b', url('other'), '-F', 'sheepdog', overlay);
  assert.is((await helper('qemu-io', '-r', '-c', 'read -P 9 1M 64k', overlay)).exit, 0);
  await mustIo(url('other'), 'read -P 0 1M 64k');
  assertRefused(
    await img('rebase', '-f', 'raw', '-b', url('other'), '-F', 'raw', url('below')),
    `qemu-img: Could not change the backing file to '${url('other')}': Operation not supported`,
  );
  assertRefused(
    await img('commit', '-f', 'raw', url('below')),
    'qemu-img: Image does not have a backing file',
  );
});

check('amend says that raw data has no options', async () => {
  await mustImg('create', '-q', url('amend'), '1M');
  assertRefused(
    await img('amend', '-f', 'raw', '-o', 'size=1', url('amend')),
    "qemu-img: Format driver 'raw' does not support option amendment",
  );
});

check('resize grows a volume, by sum or to a size, and allocates when asked', async () => {
  await mustImg('create', '-q', url('grown'), '8M');
  assert.is(await mustImg('resize', url('grown'), '+8M'), 'Image resized.\n');
  assert.is(await mustImg('resize', '-q', '--preallocation=full', '-f', 'raw', url('grown'), '24M'), '');
  const { sizeBytes, usedBytes } = await info('grown');
  assert.equal({ sizeBytes, usedBytes }, { sizeBytes: 24 * MIB, usedBytes: 8 * MIB });
});

check('resize refuses with the words of old', async () => {
  await mustImg('create', '-q', url('fixed'), '8M');
  const { exit, stderr } = await img('resize', url('fixed'), '-1M');
  assert.is(exit, 1);
  assert.match(
    stderr,
    /^qemu-img: Use the --shrink option to perform a shrink operation\.\nqemu-img: warning: /,
  );
  const refused = async (complaint: string, ...words: string[]): Promise<void> =>
    assertRefused(await img('resize', ...words), `qemu-img: ${complaint}`);
  await refused('shrinking is not supported', '--shrink', url('fixed'), '4M');
  await refused('too big image size', url('fixed'), '5T');
  await refused('New image size must be positive', url('fixed'), '-8M');
  await refused(
    'Preallocation can only be used for growing images',
    '--preallocation=full',
    url('fixed'),
    '8M',
  );
  await refused("Unsupported preallocation mode 'falloc'", '--preallocation=falloc', url('fixed'), '9M');
  assert.is((await info('fixed')).sizeBytes, 8 * MIB);
});

check('snapshots are made, listed, applied and deleted', async () => {
  await mustImg('create', '-q', url('snap'), '8M');
  assert.is(await mustImg('snapshot', '-l', url('snap')), '');
  await mustIo(url('snap'), 'write -P 1 0 64k');
  await mustImg('snapshot', '-c', 'one', url('snap'));
  await mustIo(url('snap', 1), 'write -P 2 0 64k');
  await mustImg('snapshot', '-c', 'two', url('snap', 1));
  const list = await mustImg('snapshot', '-l', url('snap', 2));
  assert.equal(
    list.split('\n').map((line) => line.slice(0, 14).trimEnd()),
    ['Snapshot list:', 'ID        TAG', '1         one', '2         two', ''],
  );
  await mustImg('snapshot', '-a', 'one', url('snap'));
  await mustIo(url('snap'), 'read -P 1 0 64k');
  await mustIo(url('snap:two'), 'read -P 2 0 64k');
  await mustImg('snapshot', '-d', 'one', url('snap'));
  await mustImg('snapshot', '-d', '2', url('snap'));
  assert.is(await mustImg('snapshot', '-l', url('snap')), '');
  await mustIo(url('snap'), 'read -P 1 0 64k');
});

check('snapshot refuses with the words of old', async () => {
  await mustImg('create', '-q', url('refused'), '1M');
  await mustImg('snapshot', '-c', 'one', url('refused'));
  const refused = async (complaint: string, ...words: string[]): Promise<void> =>
    assertRefused(await img('snapshot', ...words), `qemu-img: ${complaint}`);
  await refused("Could not delete snapshot 'x': snapshot not found", '-d', 'x', url('refused'));
  await refused(
    "Could not apply snapshot 'x': Failed to load snapshot: No such file or directory",
    ...['-a', 'x', url('refused')],
  );
  await refused(
    'failed to create inode for snapshot: VDI exists already, refused\n' +
      "qemu-img: Could not create snapshot 'one': -5 (Input/output error)",
    ...['-c', 'one', url('refused')],
  );
  const { exit, stderr } = await img('snapshot', '-c', 'x', url('refused:one'));
  assert.is(exit, 1);
  assert.match(stderr, /You can't create a snapshot of a snapshot VDI, refused/);
});

check('qemu-io reads and writes, by operand and by its open command', async () => {
  await mustImg('create', '-q', url('io'), '8M');
  await mustIo(url('io'), 'write -P 5 0 1M', 'discard 4M 4M', 'flush');
  await mustImg('snapshot', '-c', 'one', url('io'));
  const opened = await helper(
    'qemu-io',
    ...['-c', `open -o driver=raw ${url('io', 1)}`, '-c', 'read -P 5 0 1M', '-c', 'read -P 0 1M 7M'],
  );
  assert.is(opened.exit, 0);
  const wrong = await helper('qemu-io', '-f', 'raw', '-c', 'read -P 6 0 1M', url('io'));
  assert.is(wrong.exit, 1);
  assert.match(wrong.stdout, 'Pattern verification failed at offset 0, 1048576 bytes');
  assertRefused(
    await helper('qemu-io', '-c', 'read 0 1', url('nope')),
    `qemu-io: can't open device ${url('nope')}: cannot get vdi info, No vdi found, nope 0 `,
  );
});

check('a snapshot is read without a word, and never written', async () => {
  await mustImg('create', '-q', url('kept'), '8M');
  await mustIo(url('kept'), 'write -P 5 0 1M');
  await mustImg('snapshot', '-c', 'one', url('kept'));
  await mustIo(url('kept:one'), 'read -P 5 0 1M');
  const { exit, stderr } = await helper('qemu-io', '-f', 'raw', '-c', 'write -P 6 0 1M', url('kept:one'));
  assert.is(exit, 1);
  assert.match(stderr, 'Block node is read-only');
  await mustIo(url('kept'), 'read -P 5 0 1M');
});

check('a wrong command line is left to the real tool', async () => {
  const told = async (pattern: RegExp, ...words: string[]): Promise<void> => {
    const { exit, stderr } = await img(...words);
    assert.is(exit, 1, words.join(' '));
    assert.match(stderr, pattern);
  };
  await told(/^qemu-img: unrecognized option '-z'/, 'info', '-z', url('x'));
  await told(/^qemu-img: Command not found: foo/, 'foo', url('x'));
  await told(/^qemu-img: Expecting one image file name/, 'info', url('x'), url('y'));
  await told(/^qemu-img: Cannot mix/, 'snapshot', '-l', '-c', 'a', url('x'));
  await told(/^qemu-img: unrecognized operand conv/, 'dd', `if=${url('x')}`, `of=${url('y')}`, 'conv=1');
});

test.run();
