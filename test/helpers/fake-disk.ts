/**
 * A disk in memory with a page cache and a platter, for crash tests and the simulator. `write` lands in the page
 * cache; `sync` copies to the platter; `crash` decides what of the rest survives, sector by sector. Names (create,
 * rename, link, unlink) survive a power cut after `syncDir`, or by luck. Deterministic: all chance comes from the
 * Random handed in. Pages are shared between cache and platter until one of them changes, so that a cluster of many
 * such disks stays cheap.
 */
import type { Clock } from '../../src/base/clock.js';
import type { Random } from '../../src/base/random.js';
import { type Disk, DiskError, type DiskErrorCode, type DiskFile } from '../../src/store/disk.js';

const PAGE = 4096;
const SECTOR = 512;
const ALL_SECTORS = 0xff;
const ZERO_PAGE = new Uint8Array(PAGE);

/** The process that used the disk died in the middle of an operation. */
export class CrashError extends Error {
  override readonly name = 'CrashError';
}

export type FakeOpKind =
  | 'open'
  | 'write'
  | 'punch'
  | 'allocate'
  | 'truncate'
  | 'rename'
  | 'link'
  | 'unlink'
  | 'mkdir'
  | 'rmdir'
  | 'sync'
  | 'syncDir'
  | 'read';

export interface FakeOp {
  /** Number of this operation since the disk was made; only changing operations and syncs are counted. */
  readonly index: number;
  readonly kind: FakeOpKind;
  readonly path: string;
  readonly offset: number;
  readonly length: number;
}

export type Fault =
  | { type: 'error'; code: DiskErrorCode }
  /** The write is acknowledged and never happens (stale data stays); a sync is acknowledged and does nothing. */
  | { type: 'lose' }
  /** The write lands somewhere else. */
  | { type: 'misdirect'; path?: string; offset: number }
  /** Only the first bytes are written, and success is reported. */
  | { type: 'short'; length: number };

export interface FakeDiskOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly capacityBytes?: number;
  /** Bounds of the simulated delay of a sync and of an asynchronous read. */
  readonly syncMs?: readonly [number, number];
  readonly readMs?: readonly [number, number];
  /** Chance in a thousand that tryRead says "not in memory". */
  readonly coldPerMille?: number;
}

class Inode {
  pages = new Map<number, Uint8Array>();
  durable = new Map<number, Uint8Array>();
  /** Page -> sectors that differ (or may differ) from the platter. */
  dirty = new Map<number, number>();
  /** Pages that a fault has damaged, at any time. */
  readonly damaged = new Set<number>();
  /** Pages that somebody else refers to as well: cloned before they are written. */
  shared = new Set<number>();
  size = 0;
  durableSize = 0;
  /** Syncs begun; of each durable page and of the size, the one that wrote it: an older one never undoes a newer. */
  syncs = 0;
  durableBy = new Map<number, number>();
  sizeBy = 0;
  links = 0;
}

type Entry = Inode | 'folder';

interface NameChange {
  readonly folders: readonly string[];
  readonly sets: readonly (readonly [string, Entry | undefined])[];
}

export class FakeDisk implements Disk {
  /** Called before every changing operation, sync and read; may answer with a fault. */
  onOp: ((op: FakeOp) => Fault | undefined) | undefined;
  /** Counts changing operations and syncs. */
  opCount = 0;
  frozen = false;
  /** Resolves when `crashAtOp` struck. */
  crashed: Promise<void>;
  incarnation = 0;
  /** Room in use; a change of capacityBytes takes effect at once. */
  usedBytes = 0;
  capacityBytes: number;
  readonly clock: Clock;
  private names = new Map<string, Entry>();
  private durableNames = new Map<string, Entry>();
  private pendingNames: NameChange[] = [];
  private crashAt = -1;
  private strike: () => void = () => {};
  private readonly random: Random;
  private readonly syncMs: readonly [number, number];
  private readonly readMs: readonly [number, number];
  private readonly coldPerMille: number;

  constructor(options: FakeDiskOptions) {
    this.clock = options.clock;
    this.random = options.random;
    this.capacityBytes = options.capacityBytes ?? 1 << 30;
    this.syncMs = options.syncMs ?? [0, 0];
    this.readMs = options.readMs ?? [0, 0];
    this.coldPerMille = options.coldPerMille ?? 0;
    this.crashed = new Promise((resolve) => {
      this.strike = resolve;
    });
  }

  // Faults ------------------------------------------------------------------------------------------------------

  /** The operation with this index (see opCount) is cut short and the disk freezes: see `crash`. */
  crashAtOp(index: number): void {
    this.crashAt = index;
  }

  /** The n-th changing operation from now (0 is the next) fails. */
  failNth(n: number, code: DiskErrorCode, kind?: FakeOpKind): void {
    let left = n;
    this.onOp = (op) => {
      if (op.kind === 'read' || (kind && op.kind !== kind)) return undefined;
      return left-- === 0 ? { type: 'error', code } : undefined;
    };
  }

  flipBit(path: string, offset: number, bit = 0): void {
    const inode = this.inode(path);
    const number = Math.floor(offset / PAGE);
    for (const pages of [inode.pages, inode.durable]) {
      const page = (pages.get(number) ?? ZERO_PAGE).slice();
      page[offset % PAGE]! ^= 1 << bit;
      pages.set(number, page);
    }
    inode.shared.delete(number);
    inode.damaged.add(number);
  }

  /** The page has not been written to the platter since it was changed. */
  isDirty(path: string, offset: number): boolean {
    return this.inode(path).dirty.has(Math.floor(offset / PAGE));
  }

  /** Overwrites bytes behind everybody's back, in the cache and on the platter. */
  poke(path: string, offset: number, data: Uint8Array): void {
    const inode = this.inode(path);
    this.put(inode, data, offset);
    this.makeDurable(inode);
  }

  peek(path: string, offset: number, length: number): Uint8Array {
    const out = new Uint8Array(length);
    this.get(this.inode(path), out, offset);
    return out;
  }

  /**
   * The process (and with `powerCut` the machine) dies. Handles of before are dead afterwards; the disk works again.
   * A kill keeps the page cache. A power cut keeps what was synced and, of the rest, random sectors and random
   * names; with `loseAll` none of them.
   */
  crash(options: { powerCut: boolean; loseAll?: boolean }): void {
    if (options.powerCut) this.powerCut(options.loseAll ?? false);
    this.incarnation++;
    this.frozen = false;
    this.crashAt = -1;
    this.crashed = new Promise((resolve) => {
      this.strike = resolve;
    });
  }

  private powerCut(loseAll: boolean): void {
    this.settleNames(loseAll);
    this.names = new Map(this.durableNames);
    const seen = new Set<Inode>();
    for (const entry of this.names.values()) {
      if (entry === 'folder') continue;
      entry.links = seen.has(entry) ? entry.links + 1 : 1;
      if (seen.has(entry)) continue;
      seen.add(entry);
      this.settlePages(entry, loseAll);
    }
    this.usedBytes = 0;
    for (const inode of seen) this.usedBytes += inode.pages.size * PAGE;
  }

  private settleNames(loseAll: boolean): void {
    if (!loseAll) {
      const inOrder = this.random.below(2) === 0;
      const keep = inOrder ? this.random.below(this.pendingNames.length + 1) : this.pendingNames.length;
      for (const change of this.pendingNames.slice(0, keep)) {
        if (!inOrder && this.random.below(2) === 0) continue;
        for (const [path, entry] of change.sets) setName(this.durableNames, path, entry);
      }
    }
    this.pendingNames = [];
    // Whatever lies in a folder whose own name was lost is lost with it.
    for (const path of [...this.durableNames.keys()].sort()) {
      const parent = parentOf(path);
      if (parent !== '' && !this.durableNames.has(parent)) this.durableNames.delete(path);
    }
  }

  private settlePages(inode: Inode, loseAll: boolean): void {
    for (const [number, mask] of inode.dirty) {
      const luck = loseAll ? 0 : this.random.below(4);
      const chosen = luck === 0 ? 0 : luck === 1 ? mask : mask & this.random.below(256);
      // Damage under what was written over it does not come back: in a block half written nobody could know it.
      const keep = !loseAll && inode.damaged.has(number) ? mask : chosen;
      if (keep === 0) continue;
      const cached = inode.pages.get(number) ?? ZERO_PAGE;
      const page = (inode.durable.get(number) ?? ZERO_PAGE).slice();
      for (let sector = 0; sector < PAGE / SECTOR; sector++) {
        if (keep & (1 << sector)) {
          page.set(cached.subarray(sector * SECTOR, (sector + 1) * SECTOR), sector * SECTOR);
        }
      }
      inode.durable.set(number, page);
    }
    if (!loseAll && this.random.below(2) === 0) inode.durableSize = inode.size;
    inode.size = inode.durableSize;
    const pages = Math.ceil(inode.size / PAGE);
    for (const number of inode.durable.keys()) if (number >= pages) inode.durable.delete(number);
    inode.pages = new Map(inode.durable);
    inode.shared = new Set(inode.durable.keys());
    inode.dirty.clear();
  }

  // Disk --------------------------------------------------------------------------------------------------------

  open(path: string, options: { create?: boolean; exclusive?: boolean } = {}): DiskFile {
    this.alive(this.incarnation);
    let entry = this.names.get(path);
    if (entry === 'folder') throw new DiskError('denied', `${path} is a folder`);
    if (entry && options.create && options.exclusive) throw new DiskError('exists', path);
    if (!entry) {
      if (!options.create) throw new DiskError('missing', path);
      this.needParent(path);
      this.change('open', path);
      entry = new Inode();
      this.rename_([[path, entry]]);
    }
    return new FakeFile(this, entry, path);
  }

  exists(path: string): boolean {
    return this.names.has(path);
  }

  list(folder: string): string[] {
    const prefix = folder === '' || folder === '.' ? '' : `${folder}/`;
    const out: string[] = [];
    for (const path of this.names.keys()) {
      if (path.startsWith(prefix) && !path.includes('/', prefix.length)) out.push(path.slice(prefix.length));
    }
    return out.sort();
  }

  mkdir(folder: string): void {
    const parts = folder.split('/');
    for (let count = 1; count <= parts.length; count++) {
      const path = parts.slice(0, count).join('/');
      if (path === '' || path === '.' || this.names.has(path)) continue;
      this.change('mkdir', path);
      this.rename_([[path, 'folder']]);
    }
  }

  rename(from: string, to: string): void {
    const entry = this.names.get(from);
    if (!entry) throw new DiskError('missing', from);
    this.needParent(to);
    this.change('rename', to);
    this.rename_([
      [to, entry],
      [from, undefined],
    ]);
  }

  link(from: string, to: string): void {
    const inode = this.inode(from);
    if (this.names.has(to)) throw new DiskError('exists', to);
    this.needParent(to);
    this.change('link', to);
    this.rename_([[to, inode]]);
  }

  unlink(path: string): void {
    this.inode(path);
    this.change('unlink', path);
    this.rename_([[path, undefined]]);
  }

  rmdir(folder: string): void {
    if (this.list(folder).length > 0) throw new DiskError('exists', `${folder} is not empty`);
    if (!this.names.has(folder)) throw new DiskError('missing', folder);
    this.change('rmdir', folder);
    this.rename_([[folder, undefined]]);
  }

  async syncDir(folder: string): Promise<void> {
    const fault = this.change('syncDir', folder);
    const upTo = this.pendingNames.length;
    const wanted = this.pendingNames.slice(0, upTo);
    return this.later(this.syncMs, () => {
      if (fault?.type === 'lose') return;
      const at = folder === '.' ? '' : folder;
      this.pendingNames = this.pendingNames.filter((change) => {
        if (!change.folders.includes(at) || !wanted.includes(change)) return true;
        for (const [path, entry] of change.sets) setName(this.durableNames, path, entry);
        return false;
      });
    });
  }

  space(): { totalBytes: number; freeBytes: number } {
    return {
      totalBytes: this.capacityBytes,
      freeBytes: Math.max(0, this.capacityBytes - this.usedBytes),
    };
  }

  // For FakeFile ------------------------------------------------------------------------------------------------

  alive(incarnation: number): void {
    if (this.frozen || incarnation !== this.incarnation) throw new CrashError('the process is dead');
  }

  /** Counts an operation, crashes or faults it. Returns the faults that the caller has to act out. */
  change(kind: FakeOpKind, path: string, offset = 0, length = 0, partly?: () => void): Fault | undefined {
    this.alive(this.incarnation);
    const index = this.opCount++;
    if (index === this.crashAt) {
      partly?.();
      this.frozen = true;
      this.strike();
      throw new CrashError(`crash at operation ${index} (${kind} ${path})`);
    }
    return this.fault({ index, kind, path, offset, length });
  }

  fault(op: FakeOp): Fault | undefined {
    const fault = this.onOp?.(op);
    if (fault?.type === 'error') {
      throw new DiskError(fault.code, `${op.kind} ${op.path}: injected ${fault.code}`);
    }
    return fault;
  }

  write(inode: Inode, path: string, buffers: readonly Uint8Array[], offset: number): void {
    let length = 0;
    for (const buffer of buffers) length += buffer.length;
    // A process killed in the middle of a write leaves whole pages of it: a page is copied at once.
    const torn = () =>
      this.putAll(inode, buffers, offset, this.random.below(Math.ceil(length / PAGE)) * PAGE);
    const fault = this.change('write', path, offset, length, torn);
    if (fault?.type === 'lose' || fault?.type === 'misdirect') damage(inode, offset, length);
    if (fault?.type === 'lose') return;
    if (fault?.type === 'misdirect') {
      const other = fault.path ? this.inode(fault.path) : inode;
      damage(other, fault.offset, length);
      this.putAll(other, buffers, fault.offset, length);
      return;
    }
    this.putAll(inode, buffers, offset, fault?.type === 'short' ? fault.length : length);
  }

  private putAll(inode: Inode, buffers: readonly Uint8Array[], offset: number, limit: number): void {
    let done = 0;
    for (const buffer of buffers) {
      if (done >= limit) return;
      const part = buffer.length > limit - done ? buffer.subarray(0, limit - done) : buffer;
      this.put(inode, part, offset + done);
      done += part.length;
    }
  }

  private put(inode: Inode, data: Uint8Array, offset: number): void {
    let done = 0;
    while (done < data.length) {
      const at = offset + done;
      const number = Math.floor(at / PAGE);
      const from = at % PAGE;
      const count = Math.min(PAGE - from, data.length - done);
      const page = this.writable(inode, number);
      page.set(count === data.length ? data : data.subarray(done, done + count), from);
      mark(inode, number, from, count);
      done += count;
      if (at + count > inode.size) inode.size = at + count;
    }
  }

  private writable(inode: Inode, number: number): Uint8Array {
    const page = inode.pages.get(number);
    if (page && !inode.shared.has(number)) return page;
    if (!page) this.take(PAGE);
    const copy = page ? page.slice() : new Uint8Array(PAGE);
    inode.pages.set(number, copy);
    inode.shared.delete(number);
    return copy;
  }

  private take(bytes: number): void {
    if (this.usedBytes + bytes > this.capacityBytes) throw new DiskError('no-space', 'the fake disk is full');
    this.usedBytes += bytes;
  }

  get(inode: Inode, buffer: Uint8Array, offset: number): number {
    const length = Math.max(0, Math.min(buffer.length, inode.size - offset));
    let done = 0;
    while (done < length) {
      const at = offset + done;
      const from = at % PAGE;
      const count = Math.min(PAGE - from, length - done);
      const page = inode.pages.get(Math.floor(at / PAGE));
      if (page) buffer.set(count === PAGE ? page : page.subarray(from, from + count), done);
      else buffer.fill(0, done, done + count);
      done += count;
    }
    return length;
  }

  cold(): boolean {
    return this.coldPerMille > 0 && this.random.below(1000) < this.coldPerMille;
  }

  readLater(incarnation: number, run: () => number): Promise<number> {
    this.alive(incarnation);
    return this.later(this.readMs, run);
  }

  punch(inode: Inode, path: string, offset: number, length: number): void {
    if (this.change('punch', path, offset, length)?.type === 'lose') return;
    const end = Math.min(offset + length, Math.ceil(inode.size / PAGE) * PAGE);
    for (let at = offset; at < end; ) {
      const number = Math.floor(at / PAGE);
      const count = Math.min(PAGE - (at % PAGE), end - at);
      if (count === PAGE) this.drop(inode, number);
      else if (inode.pages.has(number)) this.put(inode, new Uint8Array(count), at);
      at += count;
    }
  }

  private drop(inode: Inode, number: number): void {
    if (!inode.pages.delete(number)) return;
    this.usedBytes -= PAGE;
    inode.shared.delete(number);
    inode.dirty.set(number, ALL_SECTORS);
  }

  allocate(inode: Inode, path: string, offset: number, length: number): void {
    this.change('allocate', path, offset, length);
    const last = Math.floor((offset + length - 1) / PAGE);
    for (let number = Math.floor(offset / PAGE); number <= last; number++) {
      if (inode.pages.has(number)) continue;
      this.take(PAGE);
      inode.pages.set(number, ZERO_PAGE);
      inode.shared.add(number);
      inode.dirty.set(number, ALL_SECTORS);
    }
    inode.size = Math.max(inode.size, offset + length);
  }

  truncate(inode: Inode, path: string, size: number): void {
    this.change('truncate', path, size);
    if (size < inode.size) {
      const keep = Math.ceil(size / PAGE);
      for (const number of [...inode.pages.keys()]) if (number >= keep) this.drop(inode, number);
      const tail = size % PAGE;
      if (tail !== 0 && inode.pages.has(keep - 1)) this.put(inode, new Uint8Array(PAGE - tail), size);
    }
    inode.size = size;
  }

  sync(inode: Inode, path: string): Promise<void> {
    const fault = this.change('sync', path);
    const snapshot = [...inode.dirty.keys()].map((number) => [number, inode.pages.get(number)] as const);
    for (const [number, page] of snapshot) if (page) inode.shared.add(number);
    const size = inode.size;
    const turn = ++inode.syncs;
    return this.later(this.syncMs, () => {
      if (fault?.type === 'lose') return;
      for (const [number, page] of snapshot) {
        if ((inode.durableBy.get(number) ?? 0) > turn) continue;
        inode.durableBy.set(number, turn);
        if (page) inode.durable.set(number, page);
        else inode.durable.delete(number);
        if (inode.pages.get(number) === page) inode.dirty.delete(number);
      }
      if (inode.sizeBy > turn) return;
      inode.sizeBy = turn;
      inode.durableSize = size;
    });
  }

  // Helpers -----------------------------------------------------------------------------------------------------

  private later<T>(boundsMs: readonly [number, number], run: () => T): Promise<T> {
    const { incarnation } = this;
    return new Promise((resolve, reject) => {
      const done = () => {
        // A dead process hears of nothing any more.
        if (this.frozen || incarnation !== this.incarnation) return;
        try {
          resolve(run());
        } catch (error) {
          reject(error);
        }
      };
      const [low, high] = boundsMs;
      if (high === 0) this.clock.defer(done);
      else this.clock.after(low + ((high - low) * this.random.below(1000)) / 1000, done);
    });
  }

  private makeDurable(inode: Inode): void {
    for (const [number, page] of inode.pages) {
      inode.durable.set(number, page);
      inode.shared.add(number);
    }
    inode.dirty.clear();
    inode.durableSize = inode.size;
  }

  private inode(path: string): Inode {
    const entry = this.names.get(path);
    if (!entry || entry === 'folder') throw new DiskError('missing', path);
    return entry;
  }

  private needParent(path: string): void {
    const parent = parentOf(path);
    if (parent !== '' && this.names.get(parent) !== 'folder') throw new DiskError('missing', parent);
  }

  private rename_(sets: NameChange['sets']): void {
    for (const [path, entry] of sets) {
      const before = this.names.get(path);
      if (entry instanceof Inode) entry.links++;
      setName(this.names, path, entry);
      if (before instanceof Inode && --before.links === 0) this.usedBytes -= before.pages.size * PAGE;
    }
    this.pendingNames.push({ folders: sets.map(([path]) => parentOf(path)), sets });
  }
}

class FakeFile implements DiskFile {
  private readonly incarnation: number;
  private closed = false;

  constructor(
    private readonly disk: FakeDisk,
    private readonly inode: Inode,
    readonly path: string,
  ) {
    this.incarnation = disk.incarnation;
  }

  read(buffer: Uint8Array, offset: number): number {
    this.check();
    this.disk.fault({ index: -1, kind: 'read', path: this.path, offset, length: buffer.length });
    return this.disk.get(this.inode, buffer, offset);
  }

  tryRead(buffer: Uint8Array, offset: number): number {
    this.check();
    return this.disk.cold() ? -1 : this.read(buffer, offset);
  }

  readAsync(buffer: Uint8Array, offset: number): Promise<number> {
    this.check();
    return this.disk.readLater(this.incarnation, () => this.read(buffer, offset));
  }

  write(buffers: readonly Uint8Array[], offset: number): void {
    this.check();
    this.disk.write(this.inode, this.path, buffers, offset);
  }

  append(buffer: Uint8Array): void {
    this.check();
    this.disk.write(this.inode, this.path, [buffer], this.inode.size);
  }

  punch(offset: number, length: number): void {
    this.check();
    this.disk.punch(this.inode, this.path, offset, length);
  }

  allocate(offset: number, length: number): void {
    this.check();
    this.disk.allocate(this.inode, this.path, offset, length);
  }

  truncate(size: number): void {
    this.check();
    this.disk.truncate(this.inode, this.path, size);
  }

  size(): number {
    this.check();
    return this.inode.size;
  }

  links(): number {
    this.check();
    return this.inode.links;
  }

  allocatedBytes(): number {
    return this.inode.pages.size * PAGE;
  }

  async sync(): Promise<void> {
    this.check();
    return this.disk.sync(this.inode, this.path);
  }

  close(): void {
    this.closed = true;
  }

  private check(): void {
    if (this.closed) throw new DiskError('io', `${this.path} is closed`);
    this.disk.alive(this.incarnation);
  }
}

function setName(names: Map<string, Entry>, path: string, entry: Entry | undefined): void {
  if (entry === undefined) names.delete(path);
  else names.set(path, entry);
}

function parentOf(path: string): string {
  const slash = path.lastIndexOf('/');
  return slash < 0 ? '' : path.slice(0, slash);
}

function damage({ damaged }: Inode, offset: number, length: number): void {
  for (let at = Math.floor(offset / PAGE); at * PAGE < offset + length; at++) damaged.add(at);
}

function mark(inode: Inode, number: number, from: number, count: number): void {
  const first = Math.floor(from / SECTOR);
  const last = Math.floor((from + count - 1) / SECTOR);
  const mask = ((1 << (last + 1)) - 1) & ~((1 << first) - 1);
  inode.dirty.set(number, (inode.dirty.get(number) ?? 0) | mask);
}
