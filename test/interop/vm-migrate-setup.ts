/** Two hypervisors, a guest that works on its disk, and `dog vm migrate` between them. */
import * as assert from 'uvu/assert';
import type { GuestConsole } from '../helpers/guest-console.js';
import { GuestDomain } from '../helpers/guest-domain.js';
import type { GuestFiles } from '../helpers/guest-files.js';
import type { Libvirtd } from '../helpers/libvirtd.js';
import { type RealCluster, within } from '../helpers/real-cluster.js';
import { type DogResult, dog } from '../helpers/run-dog.js';
import { MigrationLoad } from './migration-load.js';
import { doorSocket } from './vm-setup.js';

const DISK_BYTES = 64 * 1024 * 1024;
const BOOT_DEADLINE_MS = 120_000;
const MOVE_DEADLINE_MS = 200_000;
const GOES_ON_DEADLINE_MS = 120_000;

/** A host, and the index of the sheep that is its own. */
export interface Place {
  readonly host: Libvirtd;
  readonly sheep: number;
}

export interface Finding {
  readonly rule: string;
  readonly severity: string;
  readonly text: string;
  readonly next?: { readonly command: string };
}

/** Words of `dog vm migrate NAME` from one place to another; memory goes over loopback. */
export function migrateWords(cluster: RealCluster, name: string, from: Place, to: Place): string[] {
  return [
    ...['-a', '127.0.0.1', '-p', String(cluster.sheep[from.sheep]!.port)],
    ...['vm', 'migrate', name, to.host.uri, '--connect', from.host.uri],
    ...['--migrate-uri', 'tcp://127.0.0.1'],
    ...['--to-sheep', `127.0.0.1:${cluster.sheep[to.sheep]!.port}`],
  ];
}

export function migrate(
  cluster: RealCluster,
  name: string,
  from: Place,
  to: Place,
  ...more: string[]
): Promise<DogResult> {
  const words = [...migrateWords(cluster, name, from, to), ...more];
  return dog(words, { deadlineMs: MOVE_DEADLINE_MS, terminal: true });
}

/** What `--check` finds, with its exit code. */
export async function check(
  cluster: RealCluster,
  name: string,
  from: Place,
  to: Place,
  ...more: string[]
): Promise<{ exit: number; findings: Finding[] }> {
  const { exit, stdout } = await migrate(cluster, name, from, to, '--check', '--json', ...more);
  return { exit, findings: (JSON.parse(stdout) as { findings: Finding[] }).findings };
}

export function rulesOf(findings: readonly Finding[], severity = 'bad'): string[] {
  return findings.filter((finding) => finding.severity === severity).map(({ rule }) => rule);
}

/** A guest with a volume of its own, on which it writes and verifies without an end. */
export class WorkingGuest {
  private constructor(readonly domain: GuestDomain) {}

  /** Defined and started on a host, with the door that this host's sheep itself tells. */
  static async start(
    cluster: RealCluster,
    at: Place,
    files: GuestFiles,
    options: { name: string; emulator?: string; change?: (xml: string) => string },
  ): Promise<WorkingGuest> {
    const { name, emulator, change = (xml: string) => xml } = options;
    await cluster.call('vdi.create', { name, sizeBytes: DISK_BYTES });
    const domain = new GuestDomain({ name, volume: name, files, ...(emulator && { emulator }) });
    const xml = domain.xml.replace(/socket='[^']*'/, `socket='${doorSocket(cluster, at.sheep)}'`);
    await at.host.mustVirsh('define', '--validate', at.host.file(`${name}.xml`, change(xml)));
    await at.host.mustVirsh('start', name);
    const guest = new WorkingGuest(domain);
    const console = await domain.console(at.host, BOOT_DEADLINE_MS);
    await MigrationLoad.start(console);
    console.close();
    return guest;
  }

  /** It answers there, has found everything as it wrote it, and goes on writing. */
  async worksAt({ host }: Place): Promise<void> {
    await this.with(host, async (console) => {
      const before = (await MigrationLoad.passes(console)).length;
      await within(GOES_ON_DEADLINE_MS, 'the guest goes on', async () => {
        await MigrationLoad.check(console);
        return (await MigrationLoad.passes(console)).length > before + 1;
      });
    });
  }

  /** Ends its work, which verifies what was written last. */
  async rest({ host }: Place): Promise<void> {
    await this.with(host, async (console) => {
      const passes = await MigrationLoad.stop(console);
      await MigrationLoad.check(console);
      assert.ok(passes.length > 0 && passes.every(({ status }) => status === 0));
    });
  }

  private async with(host: Libvirtd, work: (console: GuestConsole) => Promise<void>): Promise<void> {
    const console = await this.domain.console(host);
    try {
      await work(console);
    } finally {
      console.close();
    }
  }
}

/** State of a domain on a host: `absent` when it is not even defined. */
export async function stateOn({ host }: Place, name: string): Promise<string> {
  const { code, stdout } = await host.virsh('domstate', name);
  return code === 0 ? stdout.trim() : 'absent';
}
