/** The part of the control interface about members, what is moved between them, and copies (see api.ts). */
import type { VdiRef } from './api.js';

/** What somebody wants to be different; `id`: of a node. */
export type MemberChange =
  /** Objects shall (not) lie on it. */
  | { kind: 'in' | 'out'; id: string }
  /** Weight: its part of the objects, beside that of others. */
  | { kind: 'weight'; id: string; vnodes: number }
  /** Sheep of one zone fail together: copies lie in different ones. */
  | { kind: 'zone'; id: string; zone: number }
  /** It will be away for a while, and is not given up meanwhile. */
  | { kind: 'maintenance'; id: string; on: boolean }
  /** Its data will never come back. */
  | { kind: 'lost'; id: string }
  /** It is no member any more. */
  | { kind: 'remove'; id: string }
  /** Where the newest content of an object is lost, the newest that is left counts. */
  | { kind: 'accept-loss' };

/** What can be asked before: also the copies of a family. */
export type PlannedChange = MemberChange | { kind: 'copies'; name: string; copies: number };

export type Doing = 'catching-up' | 'restoring' | 'moving';

/** How far a sheep is with what it lacks. */
export interface NodeProgress {
  doing: Doing;
  /** Objects compared, and about so many in all. */
  done: number;
  total: number;
  movedBytes: number;
  bytesPerS: number;
  /** Unknown until something has been measured. */
  etaMs?: number;
  /** Why it does not end, if so: paused, no-space, holders, unreadable; and in words. */
  waiting?: string;
  reason?: string;
}

/** What a change would move to a sheep, and away from it; bytes are estimates from the average size of objects. */
export interface NodePlan {
  id: string;
  host: string;
  port: number;
  up: boolean;
  gainObjects: number;
  gainBytes: number;
  lossObjects: number;
  lossBytes: number;
  freeBytes: number;
  /** What is given to it fits, with a reserve left. */
  fits: boolean;
}

export interface MovePlan {
  /** False: it is so already. */
  changes: boolean;
  /** Objects that would be copied, counted once for each new place; about so many bytes, in about so much time. */
  movedObjects: number;
  movedBytes: number;
  durationMs: number;
  /** What the duration was computed from, for each sheep that is given something; measured or assumed. */
  bytesPerS: number;
  measured: boolean;
  /** Of the objects looked at, those that have a single copy with the newest content now. */
  objects: number;
  singleObjects: number;
  nodes: NodePlan[];
  /** Why it should not be done; the code is for programs. */
  refusals: { code: 'no-space' | 'few-nodes' | 'down' | 'awaited'; text: string }[];
  warnings: string[];
}

export interface VersionLoss {
  name: string;
  tag: string;
  /** 0 for a working volume. */
  snapId: number;
  /** Objects that it refers to; those whose newest content is lost; of these, those of which nothing is left at all. */
  objects: number;
  lostObjects: number;
  goneObjects: number;
  objectBytes: number;
  /** Its index is lost: nothing of it can be read. */
  inodeLost: boolean;
  /** Its index cannot be read at present, so its objects could not be counted. */
  unreadable: boolean;
}

export interface LossReport {
  /** Versions that lose something, or of which it could not be told. */
  versions: VersionLoss[];
  /** Versions that were looked at. */
  checked: number;
}

export interface Settings {
  /** A sheep that has been down for so long is given up; 0: never. */
  downOutMs: number;
  recoveryPaused: boolean;
}

export interface RecoveryStatus extends Settings {
  epoch: number;
  /** Objects are being moved since this epoch. */
  move?: { epoch: number; sinceWallMs: number };
  /** Sheep that are given what they lack. */
  nodes: ({ id: string; host: string; port: number } & NodeProgress)[];
  /** Why it does not end, in words that name the next step; empty when it goes on. */
  waiting: string[];
  /** Sheep that are down and objects shall lie on, and what becomes of that, in words. */
  down: string[];
  /** Of all; unknown until something has been measured. */
  etaMs?: number;
}

/** Copies are those of a family: of a volume, its snapshots and clones. */
export interface FamilyInfo {
  rootVid: number;
  copies: number;
  /** What they are being changed to. */
  next?: number;
  /** Its versions that people can see. */
  versions: { name: string; tag: string; snapId: number }[];
  /** The records of all of them say so; they do some moments after the switch. */
  recorded: boolean;
}

export interface MemberMethods {
  /** Result: the epoch that has it; none when it was so already. */
  'member.change': [MemberChange, { epoch?: number }];
  /** What a change would move. Every sheep that is up looks through its store for that. */
  'member.plan': [PlannedChange, MovePlan];
  /** What a change (`lost`, `accept-loss`) would lose for good. Progress in versions. */
  'member.loss': [MemberChange, LossReport];
  /** Changes what is given, and answers with all. */
  'cluster.settings': [Partial<Settings>, Settings];
  'cluster.recovery': [Record<string, never>, RecoveryStatus];
  /** Begins to change the copies of a whole family. */
  'vdi.alter-copy': [{ name: string; copies: number }, FamilyInfo];
  'vdi.family': [VdiRef, FamilyInfo];
}
