/** Disk images that Debian packages bring, for tests that import or boot them. */
import { existsSync, statSync } from 'node:fs';
import { test } from 'uvu';
import type { RealCluster } from '../helpers/real-cluster.js';
import { requires } from '../helpers/requires.js';
import { mustRun } from './nbd-setup.js';

export const GRUB_ISO = '/usr/lib/grub-rescue/grub-rescue-cdrom.iso';

/** `test` for those whose file (of a package that setup.sh installs) is there, else a skip by name. */
export function withImage(path: string, ...tools: string[]) {
  const needs = requires(test, ...tools);
  if (existsSync(path)) return needs;
  return (name: string, run: () => Promise<void>): void => {
    process.stderr.write(`skipped: ${name} (needs ${path})\n`);
    test.skip(name, run);
  };
}

/** A volume as large as the image, filled by `qemu-img convert`. */
export async function importImage(cluster: RealCluster, name: string, image: string): Promise<void> {
  await cluster.call('vdi.create', { name, sizeBytes: statSync(image).size });
  await mustRun('qemu-img', 'convert', '-n', '-f', 'raw', '-O', 'raw', image, cluster.sheep[0]!.uri(name));
}
