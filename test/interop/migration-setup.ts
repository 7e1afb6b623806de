/** A guest that moves between two hypervisors, each of which uses a sheep of its own. */
import { chmodSync, copyFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { GuestDomain } from '../helpers/guest-domain.js';
import type { Libvirtd } from '../helpers/libvirtd.js';
import type { RealCluster, RealSheep } from '../helpers/real-cluster.js';

/** A move that a dead sheep has kept from happening is tried again; the guest has stayed where it was. */
const TRIES_MAX = 5;

/**
 * The emulator that waits for a sheep that is away, as an administrator installs it; beside the cluster, for as long as
 * that lives.
 */
export function installEmulator(cluster: RealCluster): string {
  const folder = join(cluster.folder, 'emulator');
  mkdirSync(folder, { recursive: true });
  const path = join(folder, 'qemu-system-x86_64');
  copyFileSync('hooks/emulator', path);
  chmodSync(path, 0o755);
  return path;
}

export interface Move {
  /** Of the guest, as libvirt tells it. */
  readonly downtimeMs: number;
  readonly totalMs: number;
  /** Moves that failed first, with what virsh said. */
  readonly refusals: readonly string[];
}

/** Moves a running guest, as `virsh migrate --live` does it. The memory goes over loopback. */
export async function migrate(guest: GuestDomain, from: Libvirtd, to: Libvirtd): Promise<Move> {
  const refusals: string[] = [];
  for (;;) {
    const words = ['migrate', '--live', guest.name, to.uri, 'tcp://127.0.0.1'];
    const { code, stderr, stdout } = await from.virsh(...words);
    if (code === 0) return { ...(await figures(guest, to)), refusals };
    refusals.push(`${stderr}${stdout}`.trim());
    if (refusals.length === TRIES_MAX) throw new Error(`${guest.name} cannot move: ${refusals.join('\n')}`);
  }
}

async function figures(guest: GuestDomain, host: Libvirtd): Promise<Omit<Move, 'refusals'>> {
  const text = await host.mustVirsh('domjobinfo', guest.name, '--completed');
  const msOf = (label: string) => {
    const found = new RegExp(`^${label}: +(\\d+) +ms`, 'm').exec(text);
    if (found === null) throw new Error(`libvirt says nothing of ${label}:\n${text}`);
    return Number(found[1]);
  };
  return { downtimeMs: msOf('Total downtime'), totalMs: msOf('Time elapsed') };
}

/** Kills a sheep and starts it again after a while. */
export async function killAndStart(sheep: RealSheep, awayMs: number): Promise<void> {
  await sheep.kill();
  await new Promise((resolve) => setTimeout(resolve, awayMs));
  await sheep.start();
}
