// run: quick
// deadline: 240 s
/** A host that was set up for sheepdog: names: wrappers on PATH, unix sockets, every program of QEMU, restarts. */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Launcher } from '../helpers/launcher.js';
import { ownedProcess, within } from '../helpers/real-cluster.js';
import { requires } from '../helpers/requires.js';
import { mustRun } from './nbd-setup.js';
import { assertRefused, type Ended, helper, helperPath, mustImg, mustIo, run } from './sheepdog-url-setup.js';

const withTools = requires(test, 'qemu-img', 'qemu-io');

let cluster: Launcher;
let folder: string;
test.before(async () => {
  cluster = await Launcher.start({ sheep: 3 });
  folder = join(cluster.directory, '..');
});
test.after(() => cluster?.stop());

const url = (vdi: string): string => `sheepdog:127.0.0.1:${cluster.port}:${vdi}`;
const socket = (): string => join(cluster.directory, 'sheep0', 'sock');

withTools('a unix socket is enough, and data goes through one too', async () => {
  const name = `sheepdog+unix:///local?socket=${socket()}`;
  assert.is(await mustImg('create', name, '8M'), `Formatting '${name}', fmt=raw size=8388608\n`);
  await mustIo(name, 'write -P 1 0 64k');
  await mustImg('snapshot', '-c', 'one', name);
  assert.match(await mustImg('info', `${name}#one`), `image: ${name}#one\n`);
  // A local image over it names the unix socket, so that the sheep's port may change.
  const overlay = join(folder, 'local.qcow2');
  await mustImg('create', '-q', '-f', 'qcow2', '-b', `${name}#one`, '-F', 'raw', overlay);
  const { stdout } = await run('qemu-img', ['info', overlay]);
  assert.match(stdout, /^backing file: nbd\+unix:\/\/\/local%401\?socket=.*nbd\.sock$/m);
  assert.is((await run('qemu-io', ['-r', '-c', 'read -P 1 0 64k', overlay])).exit, 0);
});

/** A call of a script that knows nothing of us. */
function script(bin: string, tool: string, ...words: string[]): Promise<Ended> {
  return run('/usr/bin/env', [`PATH=${bin}${delimiter}${process.env.PATH}`, tool, ...words]);
}

withTools('wrappers make an unchanged script work, and are taken away without a trace', async () => {
  const bin = join(folder, 'bin');
  mkdirSync(bin);
  writeFileSync(join(bin, 'other'), 'stays');
  assert.is((await cluster.dog('tools', 'install', '--dir', bin)).exit, 0);
  assert.match(
    (await script(bin, 'qemu-img', 'create', url('wrapped'), '8M')).stdout,
    /^Formatting 'sheepdog:/,
  );
  const wrote = await script(bin, 'qemu-io', '-f', 'raw', '-c', 'write -P 2 0 4k', url('wrapped'));
  assert.match(wrote.stdout, /^wrote 4096\/4096 bytes at offset 0/);
  // Everything else is the real tool's, with its exit code.
  assert.equal(await script(bin, 'qemu-img', '--version'), await run('qemu-img', ['--version']));
  assert.equal(
    await script(bin, 'qemu-img', 'info', '/no where'),
    await run('qemu-img', ['info', '/no where']),
  );
  assert.is((await cluster.dog('tools', 'install', '--dir', bin)).exit, 0);
  const removed = await cluster.dog('tools', 'remove', '--dir', bin);
  assert.is(removed.stdout, `removed ${bin}/qemu-img\nremoved ${bin}/qemu-io\n`);
  assert.equal(readdirSync(bin), ['other']);
  assert.is((await cluster.dog('tools', 'remove', '--dir', bin)).exit, 5);
});

test('a file that is no wrapper is neither replaced nor removed', async () => {
  const bin = join(folder, 'foreign');
  mkdirSync(bin);
  writeFileSync(join(bin, 'qemu-io'), 'mine');
  const { exit, stderr } = await cluster.dog('tools', 'install', '--dir', bin);
  assert.is(exit, 3);
  assert.match(stderr, `${bin}/qemu-io is not one of our wrappers: nothing was changed`);
  assert.is((await cluster.dog('tools', 'remove', '--dir', bin)).exit, 5);
  assert.equal(readdirSync(bin), ['qemu-io']);
  assert.is(readFileSync(join(bin, 'qemu-io'), 'utf8'), 'mine');
  assert.is((await cluster.dog('tools', 'install', '--dir', join(bin, 'nowhere'))).exit, 1);
});

requires(
  test,
  'qemu-nbd',
  'qemu-io',
)('qemu-nbd serves a volume by its name', async () => {
  await mustImg('create', '-q', url('served'), '8M');
  await mustIo(url('served'), 'write -P 7 0 64k');
  const path = join(folder, 'served.sock');
  const words = [helperPath('any-tool'), 'qemu-nbd', '-r', '-f', 'raw', '-k', path, url('served')];
  const child = ownedProcess(spawn(process.execPath, words, { stdio: 'ignore' }));
  const ended = new Promise((resolve) => child.once('exit', resolve));
  await within(20_000, 'qemu-nbd listens', () => existsSync(path));
  await mustRun('qemu-io', '-r', '-f', 'raw', '-c', 'read -P 7 0 64k', `nbd+unix:///?socket=${path}`);
  await ended;
});

requires(test, 'qemu-system-x86_64')('an emulator takes names wherever a disk can be named', async () => {
  await mustImg('create', '-q', url('disk'), '8M');
  await mustImg('snapshot', '-c', 'one', url('disk'));
  const server = { type: 'inet', host: '127.0.0.1', port: String(cluster.port) };
  const node = { driver: 'raw', 'node-name': 'n', file: { driver: 'sheepdog', vdi: 'disk', server } };
  const disks = [
    ...['-drive', `file=${url('disk')},format=raw,if=virtio,id=d0`],
    ...['-drive', `file=${url('disk:one')},format=raw,if=virtio,id=d1`],
    ...['-cdrom', url('disk:one')],
    ...['-blockdev', JSON.stringify(node), '-device', 'virtio-blk,drive=n'],
  ];
  const machine = ['-nodefaults', '-display', 'none', '-monitor', 'stdio', '-S', '-machine', 'accel=tcg'];
  const words = [helperPath('any-tool'), 'qemu-system-x86_64', ...machine, ...disks];
  const { exit, stdout } = await run(process.execPath, words, { input: 'info block\nquit\n' });
  assert.is(exit, 0);
  const rows = [...stdout.matchAll(/^(\S+).*: nbd\S+ \((raw.*)\)/gm)].map(([, name, how]) => [name, how]);
  assert.equal(rows, [
    ['d0', 'raw'],
    ['d1', 'raw, read-only'],
    ['ide1-cd0', 'raw, read-only'],
    ['n', 'raw'],
  ]);
  assertRefused(
    await helper('any-tool', 'qemu-system-x86_64', '-hda', url('nope')),
    `sheepdog-qemu: Could not open '${url('nope')}': cannot get vdi info, No vdi found, nope 0 `,
  );
});

withTools('a restart of the sheep in the middle of a call is only a pause', async () => {
  await mustImg('create', '-q', url('paused'), '8M');
  const during = mustIo(
    url('paused'),
    ...['write -P 1 0 64k', 'sleep 2000', 'read -P 1 0 64k', 'write -P 2 0 64k', 'flush', 'read -P 2 0 64k'],
  );
  const control = await cluster.control(1);
  await within(20_000, 'the first write is there', async () => {
    return (await control.call('vdi.info', { name: 'paused' })).result.usedBytes > 0;
  });
  control.close();
  await cluster.kill(0);
  await cluster.up();
  assert.match(await during, /(read 65536\/65536 bytes at offset 0[\s\S]*){2}/);
});

test.run();
