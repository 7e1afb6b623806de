import {
  closeSync,
  fsyncSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { makeDurably, syncFolder } from '../../src/base/durable-folder.js';

const SUFFIX = '.xml';
const AUTOSTART = 'autostart';
const TEMPORARY = '.new';
const FILE_MODE = 0o600;
const FOLDER_MODE = 0o700;

/** One definition as it was found. */
export interface StoredDefinition {
  readonly name: string;
  readonly xml: string;
  readonly autostart: boolean;
}

/**
 * Pool definitions in a directory: NAME.xml each, and an empty file autostart/NAME for those that start by themselves.
 * Every change is one rename or one removal, made durable with its directory: a power cut leaves the old state or the
 * new one. What never got its name is removed at the next load.
 */
export class DefinitionStore {
  constructor(private readonly folder: string) {
    makeDurably(join(folder, AUTOSTART), FOLDER_MODE);
  }

  load(): StoredDefinition[] {
    const autostart = new Set(readdirSync(join(this.folder, AUTOSTART)));
    const names = readdirSync(this.folder);
    for (const name of names.filter((each) => each.endsWith(TEMPORARY))) {
      rmSync(join(this.folder, name), { force: true });
    }
    return names
      .filter((name) => name.endsWith(SUFFIX))
      .map((file) => {
        const name = file.slice(0, -SUFFIX.length);
        return { name, xml: readFileSync(join(this.folder, file), 'utf8'), autostart: autostart.has(name) };
      });
  }

  /** Durable when it returns. */
  save(name: string, xml: string): void {
    this.writeFile(join(this.folder, name + SUFFIX), xml);
  }

  /** The mark goes first: a mark without a definition would belong to the next pool of that name. */
  remove(name: string): void {
    this.setAutostart(name, false);
    rmSync(join(this.folder, name + SUFFIX), { force: true });
    syncFolder(this.folder);
  }

  setAutostart(name: string, autostart: boolean): void {
    const mark = join(this.folder, AUTOSTART, name);
    if (autostart) this.writeFile(mark, '');
    else {
      rmSync(mark, { force: true });
      syncFolder(dirname(mark));
    }
  }

  private writeFile(path: string, text: string): void {
    // Beside the definitions whatever is written: only this directory is swept.
    const temporary = join(this.folder, `.${process.pid}${TEMPORARY}`);
    const fd = openSync(temporary, 'w', FILE_MODE);
    try {
      const bytes = Buffer.from(text);
      for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, path);
    syncFolder(dirname(path));
  }
}
