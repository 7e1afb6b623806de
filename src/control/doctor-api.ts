/** What `dog doctor` goes by: one sheep's view of the cluster, and what each sheep says of itself (see api.ts). */
import type { ClusterInfo, NodeInfo, ObjectPlace } from './api.js';

/** Standing of one member beyond what its row in the list says. */
export interface DoctorMember {
  id: string;
  /** Sheep of one machine have the same. */
  hostId: string;
  /** Down since the beginning of this epoch: the wall clock of who made it. */
  downSinceWallMs?: number;
  /** Away on purpose since then; at least, when the epochs that are kept do not reach back. */
  maintenanceSinceWallMs?: number;
  /** What it was started with, when that is not what counts. */
  startedWith?: { zone: number; vnodes: number };
  /** It has left the cluster for a while, because it and others do not reach each other. */
  asideReason?: string;
}

/** Objects of one kind of placement that are not as safe or as usable as they should be. */
export interface DoctorSets {
  /** Copies that they have by the placement. */
  copies: number;
  /** Nobody is up who has the newest content: ids of those who would have it. None: it is lost. */
  awaited: string[][];
  /** Writes wait: in sync and up are fewer than are needed. */
  blocked?: { have: number; needed: number };
  /** Ids of sheep that alone have the newest content of some objects, of those that are up. */
  alone: string[];
}

export interface DoctorSituation {
  /** Of the sheep that was asked. */
  host: string;
  port: number;
  wallMs: number;
  cluster: Omit<ClusterInfo, 'epochs'>;
  members: DoctorMember[];
  /** Objects are being moved since this epoch. */
  move?: number;
  downOutMs: number;
  recoveryPaused: boolean;
  sets: DoctorSets[];
  /** Volumes that people can see; names by their number of copies, the first ones. */
  volumes: { copies: number; count: number; names: string[] }[];
  scrub?: { stopped: boolean; unrepairable: number; places: ObjectPlace[] };
  /** Pairs of ids: the first cannot reach the second. */
  unreached: [string, string][];
  /** Versions that were begun and not finished, or deleted and not freed, for long: their names, the first ones. */
  unfinished: string[];
}

/** What a sheep says of itself. */
export interface DoctorReport {
  wallMs: number;
  version: string;
  leaseTtlMs: number;
  /** New data is refused below it; recovery leaves more alone. */
  reserveBytes: number;
  recoveryReserveBytes: number;
  /** Objects that this sheep should hold may be missing from its disks. */
  incomplete: boolean;
  checksumErrors: number;
  /** Why taking over what it lacks waits, in words. */
  waiting?: string;
  /** Bytes a second that recovery may take at present; absent: no limit. */
  paceBytesPerS?: number;
}

/** Everything that the rules look at. */
export interface DoctorState {
  situation: DoctorSituation;
  /** By id; an Error in words when the sheep did not answer, although it is said to be up. */
  reports: Record<string, DoctorReport | { error: string }>;
  /** By id: clock of that sheep minus the clock of who asked, in milliseconds. */
  clocksMs: Record<string, number>;
}

/** bad: data cannot be used, or is lost. risk: one failure more and it is so. note: good to know. */
export type Severity = 'bad' | 'risk' | 'note';

export interface Finding {
  /** For programs; stays the same when the words change. */
  rule: string;
  severity: Severity;
  /** One or two sentences. */
  text: string;
  /** What to do next: a command, or words when it is none; and what it does. */
  next?: { command: string; effect: string };
  /** If that cannot be done. */
  otherwise?: { command: string; effect: string };
}

export interface DoctorMethods {
  /** Works also before the format, and while objects wait. */
  'cluster.doctor': [Record<string, never>, DoctorSituation];
  /** Of the sheep that is asked. */
  'node.doctor': [Record<string, never>, DoctorReport];
}

export type DoctorNode = NodeInfo & DoctorMember;
