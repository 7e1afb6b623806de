// run: all
// deadline: 420 s
/** An installation CD kept as an image boots, by both doors, and neither lets anybody write to it. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { oldQemu } from '../helpers/old-qemu.js';
import { type RealCluster, withCluster } from '../helpers/real-cluster.js';
import { requires } from '../helpers/requires.js';
import { dog } from '../helpers/run-dog.js';
import { BOOT_DEADLINE_MS, boots, GRUB_TEXT } from './guest.js';
import { GRUB_ISO, withImage } from './image-setup.js';

const DEADLINE_MS = BOOT_DEADLINE_MS + 60_000;
const WRITE_DEADLINE_MS = 20_000;
const CDROM = 'if=ide,media=cdrom,readonly=on,format=raw';

async function addImage(cluster: RealCluster): Promise<void> {
  const added = await dog(['image', 'add', GRUB_ISO, 'cd', '-p', String(cluster.sheep[0]!.port)], {
    deadlineMs: 60_000,
  });
  assert.is(added.stderr, '');
  assert.is(added.exit, 0);
}

/** A write that the client is told about, and that changes nothing; a client that tries for ever is a failure too. */
async function refusesWrites(cluster: RealCluster, qemuIo: string, url: string): Promise<void> {
  const words = ['-f', 'raw', '-c', 'write -P 0x55 0 4096', url];
  const result = await execa(qemuIo, words, { reject: false, timeout: WRITE_DEADLINE_MS });
  assert.not.ok(result.timedOut, 'the write ended');
  assert.is.not(result.exitCode, 0, 'the write failed');
  const verified = await dog(['image', 'info', 'cd', '--verify', '-p', String(cluster.sheep[2]!.port)], {
    deadlineMs: 60_000,
  });
  assert.is(verified.exit, 0);
}

const withIso = withImage(GRUB_ISO, 'qemu-system-x86_64', 'qemu-io');

withIso('an image boots as a CD-ROM by NBD', () =>
  withCluster({ deadlineMs: DEADLINE_MS }, async (cluster) => {
    await addImage(cluster);
    const url = cluster.sheep[1]!.uri('cd');
    await boots({ drive: `${CDROM},file=${url}`, options: ['-boot', 'd'] }, GRUB_TEXT);
    await refusesWrites(cluster, 'qemu-io', url);
  }),
);

const qemu = oldQemu();
const withOld = qemu === undefined ? requires(test, 'qemu 5.2 of scripts/old-qemu.sh') : withImage(GRUB_ISO);

withOld('an image boots as a CD-ROM by the sheepdog protocol', () =>
  withCluster({ deadlineMs: DEADLINE_MS }, async (cluster) => {
    await addImage(cluster);
    const url = `sheepdog:127.0.0.1:${cluster.sheep[1]!.port}:cd`;
    const { system, firmware, img, io } = qemu!;
    await boots(
      { program: system, drive: `${CDROM},file=${url}`, options: ['-boot', 'd', '-L', firmware] },
      GRUB_TEXT,
    );
    const copy = join(cluster.folder, 'copy.iso');
    await execa(img, ['convert', '-f', 'raw', '-O', 'raw', url, copy], { timeout: 60_000 });
    assert.ok(readFileSync(copy).equals(readFileSync(GRUB_ISO)));
    await refusesWrites(cluster, io, url);
    const listed = await execa(img, ['snapshot', '-d', 'nosuch', url], { reject: false, timeout: 20_000 });
    assert.is.not(listed.exitCode, 0);
  }),
);

test.run();
