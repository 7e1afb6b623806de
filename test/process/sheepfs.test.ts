/** sheepfs with real tools, on a real cluster. */

import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, readFileSync } from 'node:fs';
import { open, readFile, rename, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { RealCluster } from '../helpers/real-cluster.js';
import { within } from '../helpers/real-cluster.js';
import { requires } from '../helpers/requires.js';
import { canMount, mountOf, ran, run, type SheepfsMount, withMount } from '../helpers/sheepfs-mount.js';

const DEADLINE_MS = 90_000;
const MIB = 2 ** 20;

/** Skipped by name where nothing can be mounted. */
const mounting = canMount ? test : Object.assign(skip, { skip });
function skip(name: string, body: () => Promise<void> | void): void {
  process.stderr.write(`skipped: ${name} (needs /dev/fuse and root)\n`);
  test.skip(name, body);
}

function mounted(
  tools: readonly string[],
  name: string,
  body: (mount: SheepfsMount, cluster: RealCluster) => Promise<void>,
  sheep = 1,
): void {
  const options = { sheep, copies: Math.min(2, sheep), deadlineMs: DEADLINE_MS };
  requires(mounting, 'mount', 'umount', ...tools)(name, () => withMount(options, body));
}

/** Bytes that repeat nowhere. */
function noise(bytes: number, seed: string): Buffer {
  const parts: Buffer[] = [];
  for (let i = 0; i * 64 < bytes; i++) parts.push(createHash('sha512').update(`${seed}${i}`).digest());
  return Buffer.concat(parts).subarray(0, bytes);
}

mounted(
  ['cp', 'cmp', 'dd', 'truncate'],
  'files are copied, appended to, shortened and grown',
  async (mount) => {
    const source = join(mount.path, '..', 'source');
    const bytes = noise(9 * MIB + 12345, 'copy');
    await writeFile(source, bytes);
    await ran('cp', source, mount.at('a'));
    assert.ok(bytes.equals(await readFile(mount.at('a'))));
    await writeFile(mount.at('a'), 'more', { flag: 'a' });
    assert.is((await stat(mount.at('a'))).size, bytes.length + 4);
    await truncate(mount.at('a'), 1000);
    await truncate(mount.at('a'), 3000);
    const short = await readFile(mount.at('a'));
    assert.ok(short.subarray(0, 1000).equals(bytes.subarray(0, 1000)));
    assert.ok(short.subarray(1000).equals(Buffer.alloc(2000)), 'what was cut off does not come back');
    await writeFile(mount.at('a'), 'new');
    assert.is(await readFile(mount.at('a'), 'utf8'), 'new');
    await ran(
      'dd',
      `if=${source}`,
      `of=${mount.at('b')}`,
      'bs=1M',
      'oflag=direct',
      'iflag=fullblock',
      'count=8',
    );
    await ran('cmp', '-n', String(8 * MIB), source, mount.at('b'));
    await ran('dd', `if=${mount.at('b')}`, 'of=/dev/null', 'bs=4096', 'iflag=direct', 'count=64');
  },
);

mounted(['cp', 'fallocate'], 'holes are kept, found, punched, and counted in st_blocks', async (mount) => {
  const file = await open(mount.at('sparse'), 'w+');
  try {
    await file.truncate(64 * MIB);
    assert.is((await file.stat()).blocks, 0);
    await file.write(noise(4096, 'hole'), 0, 4096, 20 * MIB);
    await file.sync();
  } finally {
    await file.close();
  }
  assert.is((await stat(mount.at('sparse'))).blocks, (4 * MIB) / 512);
  await ran('cp', '--sparse=always', mount.at('sparse'), mount.at('copy'));
  assert.is((await stat(mount.at('copy'))).blocks, (4 * MIB) / 512);
  await ran('cmp', mount.at('sparse'), mount.at('copy'));
  await ran(
    'fallocate',
    '--punch-hole',
    '--offset',
    String(20 * MIB),
    '--length',
    String(MIB),
    mount.at('sparse'),
  );
  assert.is((await stat(mount.at('sparse'))).size, 64 * MIB);
  const part = Buffer.alloc(4096, 1);
  const again = await open(mount.at('sparse'), 'r');
  await again.read(part, 0, 4096, 20 * MIB);
  await again.close();
  assert.ok(part.equals(Buffer.alloc(4096)));
  await ran('fallocate', '--length', String(16 * MIB), mount.at('full'));
  assert.is((await stat(mount.at('full'))).blocks, (16 * MIB) / 512);
});

mounted(['cp'], 'a copy of a whole file inside the mount is a clone', async (mount, cluster) => {
  const bytes = noise(12 * MIB, 'clone');
  await writeFile(mount.at('origin'), bytes);
  await ran('cp', mount.at('origin'), mount.at('clone'));
  const info = await cluster.call('vdi.info', { name: 'clone' });
  assert.ok(info.clone, 'it shares its objects');
  assert.is(info.usedBytes, 0);
  assert.ok(bytes.equals(await readFile(mount.at('clone'))));
  const file = await open(mount.at('clone'), 'r+');
  await file.write(Buffer.from('changed'), 0, 7, 5 * MIB);
  await file.close();
  assert.ok(bytes.equals(await readFile(mount.at('origin'))), 'the origin stays as it was');
  const rows = await cluster.call('vdi.list', { name: 'origin' });
  assert.is(rows.filter((row) => row.snapshot).length, 0, 'the snapshot between is gone');
  await rm(mount.at('origin'));
  assert.is((await readFile(mount.at('clone'))).toString('utf8', 5 * MIB, 5 * MIB + 7), 'changed');
});

mounted(['mv'], 'names: renamed over another file, removed while open, refused', async (mount, cluster) => {
  await writeFile(mount.at('a'), 'one');
  await writeFile(mount.at('b'), 'two');
  const held = await open(mount.at('b'), 'r');
  await rename(mount.at('a'), mount.at('b'));
  assert.is(await readFile(mount.at('b'), 'utf8'), 'one');
  assert.is(
    (await held.read(Buffer.alloc(3), 0, 3, 0)).buffer.toString(),
    'two',
    'the old file is still there',
  );
  assert.is((await held.stat()).nlink, 0);
  await held.close();
  const holder = await open(mount.at('b'), 'r+');
  await rm(mount.at('b'));
  await holder.write(Buffer.from('XX'), 0, 2, 0);
  assert.is((await holder.read(Buffer.alloc(3), 0, 3, 0)).buffer.toString(), 'XXe');
  await holder.close();
  // The kernel tells of the last close when it has happened.
  await within(10_000, 'nothing is left', async () => (await cluster.call('vdi.list', {})).length === 0);
  const codeOf = (promise: Promise<unknown>) =>
    promise.then(
      () => 'done',
      (error: NodeJS.ErrnoException) => error.code,
    );
  assert.is(await codeOf(writeFile(mount.at('x@y'), '')), 'EINVAL');
  assert.is(await codeOf(writeFile(mount.at('n'.repeat(256)), '')), 'ENAMETOOLONG');
  assert.is(await codeOf(readFile(mount.at('absent'))), 'ENOENT');
  await writeFile(mount.at('large'), '');
  assert.is(await codeOf(truncate(mount.at('large'), 5 * 2 ** 40)), 'EFBIG');
  assert.is(await codeOf(open(mount.at('large'), 'wx')), 'EEXIST');
});

mounted(
  ['setfattr', 'getfattr'],
  'owner, modes, times and attributes are kept over a mount',
  async (mount) => {
    await writeFile(mount.at('a'), 'x');
    await ran('chmod', '640', mount.at('a'));
    await ran('chown', '12:34', mount.at('a'));
    for (const name of ['user.color', 'trusted.libvirt.security.ref_dac', 'security.selinux']) {
      await ran('setfattr', '-n', name, '-v', `of ${name}`, mount.at('a'));
    }
    await ran('setfattr', '-x', 'user.color', mount.at('a'));
    await ran('touch', '-d', '2020-01-01T00:00:00.123456789Z', mount.at('a'));
    await mount.stop();
    await mount.start();
    assert.is((await ran('stat', '-c', '%a %u %g', mount.at('a'))).trim(), '640 12 34');
    assert.match(await ran('stat', '-c', '%y', mount.at('a')), /\.123456789 /);
    const listed = await ran('getfattr', '-m', '-', '-d', '--absolute-names', mount.at('a'));
    assert.match(listed, /trusted\.libvirt\.security\.ref_dac="of trusted/);
    assert.match(listed, /security\.selinux="of security/);
    assert.not.match(listed, /user\.color/);
  },
);

mounted(['dd'], 'snapshots are read-only files that stay as they were', async (mount, cluster) => {
  await writeFile(mount.at('v'), noise(5 * MIB, 'before'));
  await cluster.call('vdi.snapshot', { name: 'v', tag: 'first' });
  await writeFile(mount.at('v'), noise(5 * MIB, 'after'), { flag: 'r+' });
  const before = mount.at('.snapshots/v/first');
  assert.ok((await readFile(before)).subarray(0, 5 * MIB).equals(noise(5 * MIB, 'before')));
  assert.ok((await readFile(mount.at('v'))).equals(noise(5 * MIB, 'after')));
  assert.is((await run('dd', 'if=/dev/zero', `of=${before}`, 'count=1')).code, 1);
  assert.is((await run('rm', before)).code, 1);
  await writeFile(mount.at('other'), 'x');
  const over = await rename(mount.at('other'), mount.at('v')).catch(
    (reason: NodeJS.ErrnoException) => reason,
  );
  assert.is((over as NodeJS.ErrnoException).code, 'EBUSY', 'its snapshots would go with it');
  const error = await writeFile(before, '').catch((reason: NodeJS.ErrnoException) => reason);
  assert.is((error as NodeJS.ErrnoException).code, 'EROFS');
});

mounted(['dd'], 'what changes at another door is seen at once', async (mount, cluster) => {
  await cluster.call('vdi.create', { name: 'v', sizeBytes: MIB });
  const file = await open(mount.at('v'), 'r+');
  try {
    for (let i = 1; i <= 20; i++) {
      const blob = Buffer.alloc(4096, i);
      await cluster.sheep[0]!.call('vdi.write', { name: 'v', offset: 8192 }, blob);
      const { buffer } = await file.read(Buffer.alloc(4096), 0, 4096, 8192);
      assert.ok(buffer.equals(blob));
    }
    await cluster.call('vdi.resize', { name: 'v', sizeBytes: 3 * MIB });
    assert.is((await file.stat()).size, 3 * MIB);
    await file.write(Buffer.from('tail'), 0, 4, 3 * MIB - 4);
    assert.is((await file.read(Buffer.alloc(8), 0, 8, 3 * MIB - 4)).bytesRead, 4);
  } finally {
    await file.close();
  }
});

mounted(['flock'], 'flock keeps a second one out', async (mount) => {
  await writeFile(mount.at('lock'), '');
  const holder = spawn('flock', [mount.at('lock'), 'sh', '-c', 'echo held; exec sleep 60'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  try {
    await once(holder.stdout, 'data');
    assert.is((await run('flock', '-n', mount.at('lock'), 'true')).code, 1);
  } finally {
    holder.kill('SIGKILL');
  }
});

const QEMU = ['qemu-img', 'qemu-io'];
mounted(QEMU, 'QEMU makes, writes, converts and compares raw and qcow2 images', async (mount) => {
  for (const format of ['raw', 'qcow2']) {
    const image = mount.at(`image.${format}`);
    await ran('qemu-img', 'create', '-f', format, image, '256M');
    await ran(
      'qemu-io',
      '-f',
      format,
      '-c',
      'write -P 5 1M 9M',
      '-c',
      'write -P 7 200M 64k',
      '-c',
      'flush',
      image,
    );
    assert.not.match(
      await ran('qemu-io', '-f', format, '-c', 'read -P 5 1M 9M', image),
      /verification failed/,
    );
    assert.not.match(
      await ran('qemu-io', '-f', format, '-c', 'read -P 0 100M 1M', image),
      /verification failed/,
    );
    await ran('qemu-img', 'bench', '-f', format, '-w', '-t', 'none', '-c', '500', '-d', '8', image);
  }
  await ran('qemu-img', 'check', mount.at('image.qcow2'));
  await ran('qemu-img', 'convert', '-f', 'qcow2', '-O', 'raw', mount.at('image.qcow2'), mount.at('copy.raw'));
  await ran('qemu-img', 'compare', '-f', 'qcow2', '-F', 'raw', mount.at('image.qcow2'), mount.at('copy.raw'));
  assert.is((await stat(mount.at('copy.raw'))).size, 256 * MIB);
  await ran('qemu-img', 'resize', '-f', 'raw', mount.at('copy.raw'), '300M');
  await ran('qemu-img', 'resize', '-f', 'raw', '--shrink', mount.at('copy.raw'), '64M');
  assert.is((await stat(mount.at('copy.raw'))).size, 64 * MIB);
});

const fioWords = (file: string, ...words: string[]) => [
  ...['--name=verify', `--filename=${file}`, '--size=32M', '--direct=1', '--ioengine=libaio', '--iodepth=8'],
  ...['--rw=randwrite', '--bsrange=4k-64k', '--verify=crc32c', '--verify_fatal=1', '--fsync=64', ...words],
];

mounted(
  ['fio'],
  'restarts and kills of the sheep are a pause, not an error',
  async (mount, cluster) => {
    const sheep = cluster.sheep[0]!;
    const fio = run('fio', ...fioWords(mount.at('f'), '--loops=2', '--rate=6m'));
    let ended = false;
    void fio.then(() => (ended = true));
    let restarts = 0;
    for (const signal of ['SIGKILL', 'SIGTERM', 'SIGKILL'] as const) {
      await within(20_000, 'the file is there', () => stat(mount.at('f')).then((found) => found.size > 0));
      await new Promise((resolve) => setTimeout(resolve, 300));
      if (ended) break;
      await sheep.kill(signal);
      await sheep.start();
      restarts++;
    }
    const { code, stdout, stderr } = await fio;
    assert.is(code, 0, stdout + stderr);
    assert.ok(restarts > 0, 'fio was at it');
  },
  2,
);

mounted(['dd'], 'a reader can be killed while the sheep is away', async (mount, cluster) => {
  await writeFile(mount.at('a'), noise(MIB, 'reader'));
  const file = await open(mount.at('a'), 'r');
  await cluster.sheep[0]!.kill();
  const stuck = spawn('dd', ['iflag=direct', 'bs=4096', 'of=/dev/null'], {
    stdio: [file.fd, 'ignore', 'ignore'],
  });
  const ended = once(stuck, 'exit');
  await new Promise((resolve) => setTimeout(resolve, 500));
  assert.is(stuck.exitCode, null, 'it waits');
  stuck.kill('SIGKILL');
  await ended;
  await cluster.sheep[0]!.start();
  assert.is((await file.read(Buffer.alloc(4096), 0, 4096, 0)).bytesRead, 4096);
  await file.close();
});

mounted(
  ['dd'],
  'after its own SIGKILL it mounts again, with everything that was acknowledged',
  async (mount, cluster) => {
    const bytes = noise(6 * MIB + 4096, 'killed');
    const file = await open(mount.at('appended'), 'w');
    await file.write(bytes);
    // Open for writing, without a word of how long it is.
    await mount.kill('SIGKILL');
    await file.close().catch(() => {});
    await rm(mount.at('x'), { force: true }).catch((error: NodeJS.ErrnoException) => {
      assert.is(error.code, 'ENOTCONN');
    });
    await mount.start();
    assert.is((await stat(mount.at('appended'))).size, bytes.length);
    assert.ok(bytes.equals(await readFile(mount.at('appended'))));
    const holder = await open(mount.at('gone'), 'w');
    await rm(mount.at('gone'));
    await mount.kill('SIGKILL');
    await holder.close().catch(() => {});
    await mount.start();
    const names = (await cluster.call('vdi.list', {})).map((row) => row.name);
    assert.equal(names, ['appended'], 'the removed file is not kept for ever');
  },
);

mounted(
  ['dd'],
  'SIGTERM unmounts, and a second mount sees what the first one wrote',
  async (mount, cluster) => {
    const second = mountOf(cluster, 'second');
    await second.start();
    try {
      const writer = await open(mount.at('shared'), 'w');
      await writer.write('half ');
      await writer.sync();
      assert.is(await readFile(second.at('shared'), 'utf8'), 'half ');
      await writer.write('whole');
      await writer.close();
      assert.is(await readFile(second.at('shared'), 'utf8'), 'half whole');
      // A container that was started meanwhile has a copy of the mount, which keeps the kernel from ending it.
      const copy = ['--mount', '--propagation', 'private', 'sh', '-c', 'echo copied; exec sleep 60'];
      const other = spawn('unshare', copy, { stdio: ['ignore', 'pipe', 'ignore'] });
      await once(other.stdout, 'data');
      try {
        await second.kill('SIGTERM');
      } finally {
        other.kill('SIGKILL');
      }
      assert.not.match(readFileSync('/proc/self/mountinfo', 'utf8'), new RegExp(`${second.path} `));
      mkdirSync(second.at('a-plain-folder-again'));
    } finally {
      await second.stop();
    }
  },
);

test.run();
