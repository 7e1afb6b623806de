/** Reads off the records in the coordinator what happens to volumes (src/volume/records.ts), as it happens. */
import type { Change } from '../../src/coord/key-value-state.js';
import { keyOf } from '../../src/coord/watch-hub.js';
import type { LineRecord, VdiRecord } from '../../src/volume/records.js';
import type { VolumeChange } from '../helpers/sim-volumes.js';

const VDI_PREFIX = 'v/vdi/';
const LINE_PREFIX = 'v/line/';

interface State {
  readonly vdis: Map<number, VdiRecord>;
  readonly lines: Map<string, LineRecord>;
}

export class SheepRecords {
  private state: State = { vdis: new Map(), lines: new Map() };

  constructor(private readonly onChange: (change: VolumeChange) => void) {}

  /** Everything that is deleted has been freed, and nothing is being made. */
  get tidy(): boolean {
    return this.vdis().every((r) => r.state === 'live' || (r.state === 'deleted' && r.freed === true));
  }

  vdis(): VdiRecord[] {
    return [...this.state.vdis.values()];
  }

  /** One transaction of the coordinator. */
  take(change: Change): void {
    const before = this.state;
    const after: State = { vdis: new Map(before.vdis), lines: new Map(before.lines) };
    let touched = false;
    for (const event of change.events) {
      const key = keyOf(event);
      const value = event.type === 'put' ? event.kv.value : undefined;
      if (key.startsWith(VDI_PREFIX)) {
        set(after.vdis, Number.parseInt(key.slice(VDI_PREFIX.length), 16), value);
        touched = true;
      } else if (key.startsWith(LINE_PREFIX)) {
        set(after.lines, key.slice(LINE_PREFIX.length), value);
        touched = true;
      }
    }
    if (!touched) return;
    this.state = after;
    for (const id of new Set([...before.lines.keys(), ...after.lines.keys()]))
      this.compareLine(id, before, after);
    for (const [vid, old] of before.vdis) {
      const now = after.vdis.get(vid);
      if (isSnapshot(old) && (now === undefined || !isSnapshot(now)))
        this.onChange({ type: 'snapshotDeleted', version: String(vid) });
    }
  }

  private compareLine(volume: string, before: State, after: State): void {
    const old = workingOf(before, volume);
    const now = workingOf(after, volume);
    if (now === undefined) {
      if (old !== undefined) this.onChange({ type: 'deleted', volume });
      return;
    }
    const { name } = after.lines.get(volume)!;
    // A pending version still knows what it was copied from when it will stand alone.
    const parent = before.vdis.get(now.vid)?.parent ?? now.parent;
    const { sizeBytes } = now;
    if (old === undefined) {
      const from = parent === 0 ? {} : { from: String(parent) };
      this.onChange({ type: 'created', volume, name, sizeBytes, ...from });
    } else if (old.vid !== now.vid) {
      const former = after.vdis.get(old.vid);
      if (former !== undefined && isSnapshot(former)) {
        this.onChange({ type: 'snapshot', volume, version: String(old.vid), tag: former.tag });
      } else this.onChange({ type: 'rolledBack', volume, to: String(parent), sizeBytes });
    } else if (old.sizeBytes !== sizeBytes) this.onChange({ type: 'resized', volume, sizeBytes });
  }
}

function set<K, T>(map: Map<K, T>, key: K, text: string | undefined): void {
  if (text === undefined) map.delete(key);
  else map.set(key, JSON.parse(text) as T);
}

function workingOf(state: State, line: string): VdiRecord | undefined {
  const record = state.vdis.get(state.lines.get(line)?.vid ?? 0);
  return record?.state === 'live' && record.image === undefined ? record : undefined;
}

function isSnapshot(record: VdiRecord): boolean {
  return record.state === 'live' && record.snapshotMs > 0;
}
