import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { AppError } from '../../base/errors.js';
import { type Virsh, virshError } from '../virsh.js';

/** What virsh says while it migrates is a line or two. */
const OUTPUT_BYTES_MAX = 1024 * 1024;
const ABORT_AGAIN_MS = 500;

export interface MigrationOrder {
  readonly domain: string;
  readonly uri: string;
  /** It is defined at the source: so it is at the destination afterwards, and not at the source any more. */
  readonly persistent: boolean;
  /** How QEMU reaches QEMU, as for `virsh migrate --migrateuri`; without, what libvirt makes of the host's name. */
  readonly migrateUri?: string | undefined;
  readonly bandwidthMib?: number | undefined;
  readonly autoConverge?: boolean | undefined;
  /** The two daemons do it between them. */
  readonly p2p?: boolean | undefined;
  /** Definitions for the destination, when they are not those of the source. */
  readonly liveXml?: string | undefined;
  readonly persistentXml?: string | undefined;
}

/** How much of the guest's memory has gone; what it changes meanwhile is to go again. */
export interface MigrationProgress {
  readonly doneBytes: number;
  readonly totalBytes: number;
}

export interface MigrationFigures {
  /** The guest stood still for so long. */
  readonly downtimeMs: number | undefined;
  readonly totalMs: number | undefined;
  readonly bytes: number | undefined;
}

/**
 * One `virsh migrate --live`. It is not told when to end: whoever started it gives it up by `abort`. libvirt then has
 * the guest run on at the source.
 */
export class MigrationJob {
  /** Rejects with AppError: libvirt's reason. */
  readonly ended: Promise<void>;
  private over = false;

  constructor(
    private readonly source: Virsh,
    private readonly order: MigrationOrder,
  ) {
    this.ended = this.run().finally(() => (this.over = true));
    // It may fail before anybody waits for it.
    this.ended.catch(() => {});
  }

  private async run(): Promise<void> {
    const { liveXml, persistentXml } = this.order;
    const folder = mkdtempSync(join(tmpdir(), 'sheepfold-vm-'));
    try {
      const xmlWords = Object.entries({ xml: liveXml, 'persistent-xml': persistentXml }).flatMap(
        ([word, xml]) => {
          if (xml === undefined) return [];
          const path = join(folder, word);
          writeFileSync(path, xml, { mode: 0o600 });
          return [`--${word}`, path];
        },
      );
      const words = [...migrateWords(this.order), ...xmlWords];
      const [program, ...line] = this.source.commandLine(words);
      const result = await execa(program, line, {
        env: { LC_ALL: 'C' },
        stdin: 'ignore',
        maxBuffer: OUTPUT_BYTES_MAX,
        reject: false,
      });
      if (result.exitCode === 0) return;
      throw virshError(result.stderr || (result.shortMessage ?? ''));
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }

  /** Undefined: libvirt does not tell, or not at this moment. */
  async progress(): Promise<MigrationProgress | undefined> {
    const text = await this.source
      .run(['domjobinfo', '--domain', this.order.domain, '--rawstats'])
      .catch(() => '');
    const done = rawFigure(text, 'data_processed');
    const left = rawFigure(text, 'data_remaining');
    if (done === undefined || left === undefined || done + left === 0) return undefined;
    return { doneBytes: done, totalBytes: done + left };
  }

  /** Resolves when the migration has ended, one way or the other. An abort that came too late changes nothing. */
  async abort(): Promise<void> {
    const ended = this.ended.catch(() => {});
    while (!this.over) {
      // It may not have begun yet, and then it cannot be aborted yet.
      await this.source.run(['domjobabort', '--domain', this.order.domain]).catch(() => {});
      await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, ABORT_AGAIN_MS))]);
    }
  }
}

/**
 * The words for virsh. A domain that is kept moves with its definition: two hosts that can both start it are two
 * writers of one disk.
 */
export function migrateWords(order: MigrationOrder): string[] {
  const { domain, uri, persistent, migrateUri, bandwidthMib, autoConverge, p2p } = order;
  return [
    ...['migrate', '--live', '--domain', domain, '--desturi', uri],
    ...(persistent ? ['--persistent', '--undefinesource'] : []),
    ...(p2p === true ? ['--p2p'] : []),
    ...(autoConverge === true ? ['--auto-converge'] : []),
    ...(migrateUri === undefined ? [] : ['--migrateuri', migrateUri]),
    ...(bandwidthMib === undefined ? [] : ['--bandwidth', String(bandwidthMib)]),
  ];
}

/** Of the migration that has just brought the domain to this hypervisor. Rejects with AppError. */
export async function fetchFigures(destination: Virsh, domain: string): Promise<MigrationFigures> {
  const text = await destination.run(['domjobinfo', '--domain', domain, '--completed', '--rawstats']);
  return {
    downtimeMs: rawFigure(text, 'downtime'),
    totalMs: rawFigure(text, 'time_elapsed'),
    bytes: rawFigure(text, 'data_processed'),
  };
}

function rawFigure(text: string, name: string): number | undefined {
  const found = new RegExp(`^${name}: *(\\d{1,15})$`, 'm').exec(text);
  return found === null ? undefined : Number(found[1]);
}

/** Where a domain is after the attempt: its state, `absent`, or undefined when the hypervisor does not say. */
export async function stateAt(virsh: Virsh, domain: string): Promise<string | undefined> {
  return virsh.domainState(domain).catch((error: unknown) => {
    return AppError.isCode(error, 'missing') ? 'absent' : undefined;
  });
}
