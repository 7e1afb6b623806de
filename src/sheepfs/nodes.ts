import { FuseError } from '../fuse/errors.js';
import { ROOT_NODE } from '../fuse/protocol.js';
import type { FrozenFile } from './frozen-file.js';
import type { VolumeFile } from './volume-file.js';

/** What a node of the tree is: the root, `.snapshots`, `.snapshots/NAME`, a volume, a snapshot. */
export type Node =
  | { readonly id: number; readonly kind: 'root' | 'snapshots'; lookups: number; key: string }
  | { readonly id: number; readonly kind: 'history'; readonly name: string; lookups: number; key: string }
  | { readonly id: number; readonly kind: 'volume'; readonly file: VolumeFile; lookups: number; key: string }
  | {
      readonly id: number;
      readonly kind: 'snapshot';
      readonly file: FrozenFile;
      lookups: number;
      key: string;
    };

export type FileNode = Extract<Node, { file: unknown }>;
export type VolumeNode = Extract<Node, { kind: 'volume' }>;

const SNAPSHOTS_NODE = 2;

/**
 * The nodes that the kernel knows, or a handle uses: what it has looked up lives until it forgets it. Memory is
 * bounded by what the kernel remembers.
 */
export class Nodes {
  private readonly byId = new Map<number, Node>();
  private readonly byKey = new Map<string, Node>();
  private nextId = SNAPSHOTS_NODE + 1;

  constructor() {
    // These two are never forgotten.
    this.put({ id: ROOT_NODE, kind: 'root', lookups: 1, key: '/' });
    this.put({ id: SNAPSHOTS_NODE, kind: 'snapshots', lookups: 1, key: '/.snapshots' });
  }

  get snapshots(): Node {
    return this.byId.get(SNAPSHOTS_NODE)!;
  }

  /** Throws ESTALE for a number that was never given out, or is forgotten. */
  get(id: number): Node {
    const node = this.byId.get(id);
    if (node === undefined) throw new FuseError('ESTALE');
    return node;
  }

  volume(name: string): VolumeNode | undefined {
    return this.byKey.get(volumeKey(name)) as VolumeNode | undefined;
  }

  addVolume(file: VolumeFile): VolumeNode {
    return this.put({
      id: this.nextId++,
      kind: 'volume',
      file,
      lookups: 0,
      key: volumeKey(file.name),
    });
  }

  /** The folder of the snapshots of a volume. */
  history(name: string): Node {
    const key = `/.snapshots/${name}`;
    return this.byKey.get(key) ?? this.put({ id: this.nextId++, kind: 'history', name, lookups: 0, key });
  }

  /**
   * The number of a snapshot comes again when its volume is deleted and made anew; the moment it was made does not.
   */
  snapshot(make: () => FrozenFile, row: { name: string; vid: number; createdMs: number }): Node {
    const key = `/.snapshots/${row.name}/${row.vid}.${row.createdMs}`;
    return (
      this.byKey.get(key) ?? this.put({ id: this.nextId++, kind: 'snapshot', file: make(), lookups: 0, key })
    );
  }

  /** The name of a volume now means something else, or nothing; whoever has the node open keeps it. */
  unname(node: Node): void {
    if (this.byKey.get(node.key) === node) this.byKey.delete(node.key);
  }

  renameVolume(node: VolumeNode, name: string): void {
    this.unname(node);
    node.key = volumeKey(name);
    this.byKey.set(node.key, node);
  }

  forget(id: number, lookups: number): void {
    const node = this.byId.get(id);
    if (node === undefined || id <= SNAPSHOTS_NODE) return;
    node.lookups -= lookups;
    if (node.lookups > 0) return;
    this.byId.delete(id);
    this.unname(node);
  }

  private put<N extends Node>(node: N): N {
    this.byId.set(node.id, node);
    this.byKey.set(node.key, node);
    return node;
  }
}

function volumeKey(name: string): string {
  return `/${name}`;
}

export function isFile(node: Node): node is FileNode {
  return node.kind === 'volume' || node.kind === 'snapshot';
}
