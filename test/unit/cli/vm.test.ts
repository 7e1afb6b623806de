import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { DogBench } from '../../helpers/run-dog.js';

interface Context {
  bench: DogBench;
  folder: string;
  path: string | undefined;
}
const test = suite<Context>('vm');
test.before.each(async (context) => {
  context.bench = await DogBench.start();
  context.folder = mkdtempSync(join(tmpdir(), 'sheepfold-vm-'));
  context.path = process.env.PATH;
  await context.bench.run('vdi create first 4G');
});
test.after.each(async (context) => {
  process.env.PATH = context.path;
  await context.bench.stop();
  rmSync(context.folder, { recursive: true, force: true });
});

/** A virsh of that version, first on PATH, that knows one domain and does whatever it is told. */
function fakeVirsh(folder: string, version: string, domain = ''): void {
  writeFileSync(join(folder, 'domain.xml'), domain);
  const script = `#!/bin/sh
echo "$*" >> ${folder}/calls
case "$*" in
*version*) echo "Running against daemon: ${version}" ;;
*dominfo*) printf 'State:          running\\nPersistent:     yes\\n' ;;
*dumpxml*) cat ${folder}/domain.xml ;;
*) exit 0 ;;
esac
`;
  writeFileSync(join(folder, 'virsh'), script, { mode: 0o755 });
  process.env.PATH = `${folder}:${process.env.PATH}`;
}

const foreignDisk = `<domain><name>web</name><devices><disk type='network' device='disk'>
<source protocol='nbd' name='first' index='1'><host name='192.0.2.1' port='10809'/></source>
<target dev='vda' bus='virtio'/><alias name='virtio-disk0'/></disk></devices></domain>`;

test('a disk is printed as the libvirt of this host takes it', async ({ bench, folder }) => {
  fakeVirsh(folder, '11.3.0');
  const today = await bench.run('vm disk first', { terminal: true });
  assert.match(today.stdout, /<host name='127.0.0.1' port='10809'\/>\n +<reconnect delay='600'\/>/);
  assert.is(today.stderr, '');
  fakeVirsh(folder, '9.0.0');
  const old = await bench.run('vm disk first --target sdb', { terminal: true });
  assert.not.match(old.stdout, /reconnect/);
  assert.match(old.stdout, /<target dev='sdb' bus='scsi'\/>/);
  assert.match(old.stderr, /^libvirt 9\.0\.0 cannot make a disk wait/);
});

test('without libvirt a disk is printed all the same, and for which libvirt is told', async ({
  bench,
  folder,
}) => {
  process.env.PATH = folder;
  const { exit, stdout, stderr } = await bench.run('vm disk first');
  assert.is(exit, 0);
  assert.match(stdout, /<reconnect/);
  assert.match(stderr, /virsh is not installed.*this is for libvirt 9\.2 and newer/);
  assert.is((await bench.run('vm attach web first')).exit, 2);
});

test('what is wrong with a command line is told before anything is done', async ({ bench, folder }) => {
  fakeVirsh(folder, '9.0.0');
  const cases: [string, number, RegExp][] = [
    ['vm disk none', 1, /^Failed to open VDI none/],
    ['vm disk first --target xvda', 64, /Invalid target 'xvda'/],
    ['vm disk first --bus floppy', 64, /Invalid bus 'floppy'/],
    ['vm create web', 64, /one of --cdrom, --from and --volume/],
    ['vm create web --from first --volume first', 64, /give one of them/],
    ['vm create web --volume first --size 8G', 64, /--size is for a volume that is made/],
    ['vm create web --volume first --memory 1K', 64, /Invalid memory/],
    ['vm create web --volume first --cpu fast', 64, /Invalid processor 'fast'/],
    ['vm resize web vda big', 64, /Invalid size 'big'/],
    ['vm hook web prepare begin -', 64, /--place is wanted/],
  ];
  for (const [line, exit, words] of cases) {
    const result = await bench.run(line);
    assert.is(result.exit, exit, `${line}: ${result.stderr}`);
    assert.match(result.stderr, words);
  }
  assert.is(bench.cluster.vdis.length, 1);
});

test('a disk of somebody else is not touched, and one that is not there is told', async ({
  bench,
  folder,
}) => {
  fakeVirsh(folder, '9.0.0', foreignDisk);
  const foreign = await bench.run('vm resize web vda 8G');
  assert.is(foreign.exit, 1);
  assert.match(foreign.stderr, /vda of web is not a volume of this cluster/);
  assert.is(bench.cluster.find({ name: 'first' }).info.sizeBytes, 4 * 2 ** 30);
  const missing = await bench.run('vm detach web data', { terminal: true });
  assert.is(missing.exit, 5);
  assert.match(missing.stderr, /Domain web has no volume data\nIts disks on NBD: vda \(first\)/);
  assert.not.match(readFileSync(join(folder, 'calls'), 'utf8'), /detach|monitor|blockresize/);
});

test('the hook is put beside others and taken away alone', async ({ bench, folder }) => {
  const directory = join(folder, 'qemu.d');
  const path = join(directory, '50-sheepfold');
  const installed = await bench.run('vm hooks install', { args: ['--dir', directory] });
  assert.is(installed.stdout, `installed ${path}\n`);
  assert.match(installed.stderr, /systemctl reload libvirtd/);
  assert.match(
    (await bench.run('vm hooks install', { args: ['--dir', directory] })).stdout,
    /is there already/,
  );
  assert.is((await bench.run('vm hooks status', { args: ['--dir', directory] })).exit, 0);
  // Another sheep, another address in it.
  const text = readFileSync(path, 'utf8');
  writeFileSync(path, text.replaceAll(`-p ${bench.port} `, '-p 1 '));
  assert.is((await bench.run('vm hooks status', { args: ['--dir', directory] })).exit, 1);
  assert.match((await bench.run('vm hooks install', { args: ['--dir', directory] })).stdout, /^installed/);
  assert.is(readFileSync(path, 'utf8'), text);
  assert.is((await bench.run('vm hooks remove', { args: ['--dir', directory] })).stdout, `removed ${path}\n`);
  assert.not(existsSync(directory), 'the directory was ours, and empty');
  assert.is((await bench.run('vm hooks remove', { args: ['--dir', directory] })).exit, 5);
  assert.is((await bench.run('vm hooks status', { args: ['--dir', directory] })).exit, 5);
});

test('a hook of somebody else is neither replaced nor removed', async ({ bench, folder }) => {
  const path = join(folder, '50-sheepfold');
  writeFileSync(path, '#!/bin/sh\nexit 0\n');
  assert.is((await bench.run('vm hooks install', { args: ['--dir', folder] })).exit, 3);
  assert.is((await bench.run('vm hooks remove', { args: ['--dir', folder] })).exit, 1);
  assert.is(readFileSync(path, 'utf8'), '#!/bin/sh\nexit 0\n');
});

test.run();
