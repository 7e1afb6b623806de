import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { AppError } from '../base/errors.js';

/**
 * Which directories hold this sheep's objects: `disks.json` beside its identity, so that a start without options finds
 * those that were plugged in since. A sheep that never had another disk than the one of its first start has no such
 * file. What belongs together is for the disks' own records to say (store/disks); this is only where to look.
 */
export const DISK_LIST_FILE = 'disks.json';

interface Content {
  readonly version: 1;
  readonly disks: readonly string[];
  /** Taken out or lost: not used again because a start script still names them. */
  readonly out: readonly string[];
}

export class DiskList {
  private content: Content | undefined;

  /** `dir`: of the sheep. AppError 'version' | 'system' (damaged). */
  constructor(private readonly dir: string) {
    this.content = readContent(join(dir, DISK_LIST_FILE));
  }

  /** Where to look for objects, when the command line names `named` (none: the sheep's own directory). */
  paths(named: readonly string[]): string[] {
    const { content } = this;
    if (content === undefined) return named.length === 0 ? [this.dir] : [...new Set(named)];
    const added = named.filter((path) => !content.out.includes(path));
    return [...new Set([...content.disks, ...added])];
  }

  /** On the command line, but taken out or lost before. */
  ignored(named: readonly string[]): string[] {
    return named.filter((path) => this.content?.out.includes(path) && !this.content.disks.includes(path));
  }

  /** True when a store of this sheep must be there. */
  has(path: string): boolean {
    return this.content?.disks.includes(path) ?? false;
  }

  get exists(): boolean {
    return this.content !== undefined;
  }

  /** These are in use now; `gone` ones are not to be used again. Durable when it returns. */
  save(disks: readonly string[], gone: readonly string[] = []): void {
    if (this.content === undefined && disks.length === 1 && disks[0] === this.dir && gone.length === 0)
      return;
    const out = [...new Set([...(this.content?.out ?? []), ...gone])].filter((path) => !disks.includes(path));
    const content: Content = { version: 1, disks: [...disks], out };
    if (JSON.stringify(content) === JSON.stringify(this.content)) return;
    this.content = content;
    // The directory itself may have been on a disk that is lost.
    mkdirSync(this.dir, { recursive: true, mode: 0o700 });
    const file = join(this.dir, DISK_LIST_FILE);
    writeFileSync(`${file}.new`, `${JSON.stringify(content)}\n`, { flush: true });
    renameSync(`${file}.new`, file);
  }
}

function readContent(file: string): Content | undefined {
  if (!existsSync(file)) return undefined;
  let content: Content;
  try {
    content = JSON.parse(readFileSync(file, 'utf8')) as Content;
  } catch (error) {
    throw new AppError('system', `${file} is damaged`, { cause: error });
  }
  if (content.version !== 1) throw new AppError('version', `${file} is not of this version of sheepfold`);
  return content;
}
