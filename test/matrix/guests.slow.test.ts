// deadline: 500 s
/** The matrix: whole virtual machines, and a gateway that goes away under a client. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { sleep, systemClock } from '../../src/base/clock.js';
import { GRUB_ISO } from '../interop/image-setup.js';
import type { Target } from './drivers.js';
import { Emulator, type EmulatorOptions } from './emulator.js';
import { type Bench, defineGroup } from './matrix.js';
import { create, fill, holds, KIB, MIB, OBJECT_BYTES, write } from './volumes.js';

const BOOT_DEADLINE_MS = 60_000;
const MEMORY_BYTES = 16 * MIB;
/** What GRUB says first, and what stands under its menu: a slow machine may show only one of them. */
const GRUB_TEXT = /Welcome to GRUB|highlighted entry will be/;

/** Runs emulators for a while; whatever happens, none is left. */
async function withEmulators(
  { driver, cluster, name }: Bench,
  body: (
    start: (target: Target, more?: Partial<EmulatorOptions>) => Promise<Emulator>,
    folder: string,
  ) => Promise<void>,
): Promise<void> {
  const folder = cluster.folderFor(`vm-${name}`);
  const all: Emulator[] = [];
  try {
    await body(async ({ drive }, more = {}) => {
      const emulator = await Emulator.start({ program: driver.system, folder, drive, ...more });
      all.push(emulator);
      return emulator;
    }, folder);
  } finally {
    await Promise.all(all.map((emulator) => emulator.kill()));
  }
}

/**
 * A volume that a machine with memory can be saved in, named for the emulator. Where a client has no snapshots of its
 * own, qcow2 inside of the volume has.
 */
async function savable(
  { driver, cluster, name }: Bench,
  oldFormat: 'raw' | 'sheepdog' = 'raw',
): Promise<Target> {
  const format = driver.column === 'old' ? oldFormat : 'qcow2';
  // The helper's `create` makes the volume too.
  if (driver.column !== 'helper') await create(cluster, name, 256 * MIB);
  const target = await driver.target(name, { format });
  if (format === 'qcow2') await driver.img('create', '-f', 'qcow2', target.url, '64M');
  return target;
}

/** Memory is there and the disk has gone on. */
async function saves(bench: Bench): Promise<void> {
  const target = await savable(bench);
  await withEmulators(bench, async (start) => {
    const machine = await start(target);
    await machine.io('write -P 1 0 8M');
    await machine.monitor('savevm s1');
    await machine.io('write -P 2 0 1M');
    assert.match(await machine.monitor('info snapshots'), /\bs1\b/);
    await machine.io('read -P 2 0 1M');
    await machine.io('read -P 1 1M 7M');
    await machine.quit();
  });
  const { driver, cluster, name } = bench;
  if (driver.column !== 'old') return;
  await holds(cluster, { name, tag: 's1' }, 1, 0, 2 * OBJECT_BYTES);
  await holds(cluster, { name }, 2, 0, MIB);
}

/**
 * In the machine that saved it, and in one started for it: the memory is the same to the byte, and so is the disk.
 * After loadvm QEMU's raw layer never wakes up again, whatever has the snapshots below it (5.2 and 7.2 do the same
 * with raw over qcow2), so the old one is told to use none.
 */
async function loads(bench: Bench): Promise<void> {
  const target = await savable(bench, 'sheepdog');
  await withEmulators(bench, async (start, folder) => {
    const first = await start(target, { paused: true });
    await first.io('write -P 1 0 8M');
    const memory = await first.memory(join(folder, 'saved'), MEMORY_BYTES);
    await first.monitor('savevm s1');
    await first.io('write -P 2 0 1M');
    await first.execute('cont');
    await sleep(systemClock, 300);
    await first.execute('stop');
    await first.monitor('loadvm s1');
    await first.io('read -P 1 0 8M');
    await first.io('write -P 3 4M 64k');
    await first.quit();
    const second = await start(target, { paused: true, words: ['-loadvm', 's1'] });
    await second.io('read -P 1 0 8M');
    const loaded = await second.memory(join(folder, 'loaded'), MEMORY_BYTES);
    assert.ok(memory.equals(loaded), 'the memory is what it was');
    await second.quit();
  });
}

/**
 * The worst of the old driver (D1): it forgets what the disk has and tells the server to forget it too. The volume
 * keeps everything, also where the guest writes a part of what its QEMU now takes for a hole.
 */
async function deletesLive(bench: Bench): Promise<void> {
  const target = await savable(bench, 'raw');
  await withEmulators(bench, async (start) => {
    const machine = await start(target);
    await machine.io('write -P 1 0 8M');
    await machine.monitor('savevm s1');
    await machine.io('write -P 2 0 1M');
    await machine.monitor('delvm s1');
    await machine.io('write -P 3 4M 64k');
    assert.not.match(await machine.monitor('info snapshots'), /\bs1\b/);
    await machine.quit();
    const again = await start(target);
    await again.io('read -P 2 0 1M');
    await again.io('read -P 1 1M 3M');
    await again.io('read -P 3 4M 64k');
    await again.io(`read -P 1 ${4 * MIB + 64 * 1024} ${4 * MIB - 64 * 1024}`);
    await again.quit();
  });
}

async function boots(bench: Bench, cdrom: boolean): Promise<void> {
  const { driver, cluster, name } = bench;
  assert.ok(existsSync(GRUB_ISO), `${GRUB_ISO} (package grub-rescue-pc) is there`);
  await create(cluster, name, statSync(GRUB_ISO).size);
  await write(cluster, name, readFileSync(GRUB_ISO));
  const target = await driver.target(name);
  await withEmulators(bench, async (start) => {
    const machine = await start(target, { cdrom });
    await machine.shows(GRUB_TEXT, BOOT_DEADLINE_MS);
    await machine.quit();
  });
}

const bootsDisk = (bench: Bench) => boots(bench, false);
const bootsIso = (bench: Bench) => boots(bench, true);

/** Its gateway is killed, and comes back: a write and a read in that time wait, and nothing is lost. */
async function ridesOut({ driver, cluster, name }: Bench): Promise<void> {
  await create(cluster, name, 64 * MIB);
  const gateway = cluster.sheep[1]!;
  const session = await driver.session(await driver.target(name));
  await session.run('write -P 1 0 64k');
  await gateway.kill();
  const [, waited] = await Promise.all([
    sleep(systemClock, 1500).then(() => gateway.start()),
    session.run('write -P 2 64k 64k').then(() => session.run('write -P 3 8M 64k')),
  ]);
  assert.is(waited, undefined);
  await session.run('read -P 1 0 64k');
  await session.run('read -P 2 64k 64k');
  await session.end();
  await holds(cluster, { name }, 1, 0, 64 * KIB);
  await holds(cluster, { name }, 2, 64 * KIB, 64 * KIB);
  await holds(cluster, { name }, 3, 8 * MIB, 64 * KIB);
  await cluster.waitHealthy();
}

/**
 * From one gateway to another. The second emulator opens the volume long before it may use it: what the first one
 * writes in between, into objects that are new too, it has to see.
 */
async function migrates(bench: Bench): Promise<void> {
  const { driver, cluster, name } = bench;
  await create(cluster, name, 64 * MIB);
  await fill(cluster, name, 1, 0, MIB);
  const [from, to] = [await driver.target(name), await driver.target(name, { sheep: 2 })];
  await withEmulators(bench, async (start, folder) => {
    const socket = join(folder, 'migration');
    const source = await start(from);
    const destination = await start(to, { incoming: socket });
    await source.io('write -P 2 0 64k');
    await source.io('write -P 3 8M 64k');
    await source.migrate(socket);
    await source.quit();
    assert.is(await destination.status(), 'running');
    await destination.io('read -P 2 0 64k');
    await destination.io('read -P 1 64k 960k');
    await destination.io('read -P 3 8M 64k');
    await destination.io('write -P 4 12M 64k');
    await destination.quit();
  });
  await holds(cluster, { name }, 3, 8 * MIB, 64 * KIB);
  await holds(cluster, { name }, 4, 12 * MIB, 64 * KIB);
}

defineGroup('4-guests', {
  savevm: { old: saves, nbd: saves, helper: saves, tgt: saves },
  loadvm: { old: loads, nbd: loads, helper: loads, tgt: loads },
  delvm: { old: deletesLive, nbd: deletesLive, helper: deletesLive, tgt: deletesLive },
  boot: { old: bootsDisk, nbd: bootsDisk, helper: bootsDisk, tgt: bootsDisk },
  'boot ISO': { old: bootsIso, nbd: bootsIso, helper: bootsIso, tgt: bootsIso },
  reconnect: { old: ridesOut, nbd: ridesOut, helper: ridesOut, tgt: ridesOut },
  'live migration': { old: migrates, nbd: migrates, helper: migrates, tgt: migrates },
});

test.run();
