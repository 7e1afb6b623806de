import type { NodeDoors } from '../../control/api.js';
import type { NbdDisk, NbdPlace } from '../domain-xml.js';
import type { Version } from '../virsh.js';

/** What is known before a domain moves to another hypervisor; the rules of judge.ts go by it and by nothing else. */
export interface MigrationFacts {
  readonly domain: MovingDomain;
  readonly source: Hypervisor;
  /** The destination as the user named it. */
  readonly uri: string;
  readonly destination: Destination | Silent;
  /** Of `-a` and `-p`; undefined when no disk is a volume of it, so that nobody had to ask. */
  readonly cluster?: ClusterFacts | Silent;
  /** Undefined when no disk is a volume. */
  readonly arrival?: ArrivalSheep | UnknownSheep | Silent;
  /** By the disk's name in the domain. */
  readonly volumes: Readonly<Record<string, VolumeFacts | Silent>>;
}

/** It was asked, and this came instead of an answer. */
export interface Silent {
  readonly error: string;
}

export function isSilent<T extends object>(facts: T | Silent): facts is Silent {
  return 'error' in facts;
}

export interface MovingDomain {
  readonly name: string;
  readonly uuid: string;
  /** As virsh says it: `running`, `paused`, ... */
  readonly state: string;
  readonly persistent: boolean;
  /** A job of libvirt is under way: a migration, a backup, a dump. */
  readonly busy: boolean;
  /** `kvm`, `qemu` */
  readonly type: string;
  readonly arch: string;
  /** The lasting name: `pc-q35-7.2`. */
  readonly machine: string;
  readonly emulator: string | undefined;
  readonly memoryBytes: number;
  /** `custom`, `host-passthrough`, `maximum`, ...; undefined: nothing is said of it. */
  readonly cpuMode: string | undefined;
  /** Networks of libvirt that its cards are on. */
  readonly networks: readonly string[];
  /** What cannot leave its host, in words. */
  readonly hostBound: readonly string[];
  readonly disks: readonly MovingDisk[];
}

export interface MovingDisk {
  readonly target: string;
  readonly writable: boolean;
  /** Several may use it at a time, as the definition says. */
  readonly shareable: boolean;
  readonly content:
    | { readonly kind: 'volume'; readonly nbd: NbdDisk }
    /** On NBD, and no volume of the cluster that was asked. */
    | { readonly kind: 'nbd'; readonly nbd: NbdDisk }
    | { readonly kind: 'file'; readonly path: string; readonly fileSystem: FileSystem }
    | { readonly kind: 'device'; readonly path: string }
    | { readonly kind: 'pool'; readonly name: string }
    /** rbd, iscsi, ...: libvirt moves them by itself. */
    | { readonly kind: 'network'; readonly protocol: string }
    /** A drive without a medium. */
    | { readonly kind: 'empty' }
    | { readonly kind: 'other'; readonly type: string };
}

/** Whether several hosts have the file system; `unknown` when libvirt is not on this machine. */
export type FileSystem = 'shared' | 'local' | 'unknown';

export interface Hypervisor {
  /** How the host calls itself. */
  readonly hostname: string;
  /** libvirt's id of the host; undefined when it tells none. */
  readonly hostUuid: string | undefined;
  readonly libvirt: Version;
  readonly qemu: Version | undefined;
  /** The host's own processor, for guests that are given it as it is. */
  readonly processor: string;
  /** What the domain's processor needs that this hypervisor cannot give, as libvirt says it; undefined: nothing. */
  readonly lacksOfCpu: string | undefined;
}

export interface Destination extends Hypervisor {
  /** A domain that has the name there. */
  readonly namesake?: { readonly uuid: string; readonly state: string };
  /** Why such a machine cannot be there (its type, emulator, kvm), as libvirt says it. */
  readonly machineRefusal?: string;
  /** Networks that are active; undefined: it has none of libvirt's. */
  readonly networks?: readonly string[];
  /** What can be had without taking it from others; undefined: it does not tell. */
  readonly freeMemoryBytes?: number;
}

export interface ClusterFacts {
  readonly clusterId: string;
  /** Places of all its sheep. */
  readonly places: readonly NbdPlace[];
  /** Why some reads or writes wait. */
  readonly blocking: readonly string[];
}

/** The sheep of the destination's host. */
export interface ArrivalSheep {
  readonly host: string;
  readonly port: number;
  readonly clusterId: string;
  readonly doors: NodeDoors;
  /** As it sees it. */
  readonly blocking: readonly string[];
}

/** Which sheep is the destination's is not told, and does not follow from the addresses. */
export interface UnknownSheep {
  readonly candidates: readonly string[];
}

export function isKnown(sheep: ArrivalSheep | UnknownSheep | Silent | undefined): sheep is ArrivalSheep {
  return sheep !== undefined && 'doors' in sheep;
}

/** What the sheep say of the volume of a disk. */
export interface VolumeFacts {
  /** Clients that have it open by NBD, on whichever sheep; the guest is one of them. */
  readonly users: number;
  /** Clients that have it open by the sheepdog protocol: `host:port`. */
  readonly locks: readonly string[];
  /** What the destination's sheep said when it was asked for it; undefined: it knows it. */
  readonly missing?: string;
}
