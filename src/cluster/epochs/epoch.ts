import { assert } from '../../base/assert.js';
import { AppError } from '../../base/errors.js';

/**
 * Epochs (D-4): immutable records in the coordinator of who is a member, who of them is up, and where objects lie.
 * `next-epoch.ts` has the rule that makes the next one.
 */

/** A node's part in a placement ring. */
export interface Place {
  /** Nodes of one zone fail together. */
  readonly zone: number;
  /** Weight: its number of points on the ring. */
  readonly vnodes: number;
}

export interface EpochNode {
  readonly id: string;
  /** Address at which it joined: with the weight it decides where its points on the ring lie, so it stays. */
  host: string;
  port: number;
  /** The part it shall have in the placement while it is `in`. Weight 0: a gateway, holds nothing. */
  zone: number;
  vnodes: number;
  /** Which machine it runs on: nodes of one machine lose power together. */
  hostId: string;
  bootId: string;
  /** Changes with each start and each loss of the lease. */
  incarnation: string;
  /** Objects shall lie on it. */
  in: boolean;
  /** Why it is not `in`: somebody asked for it, or it was down for too long (then it comes in again when it is up). */
  outBy?: 'admin' | 'delay';
  /** Its absence is known and will end: it stays `in` however long it lasts. */
  maintenance?: boolean;
  /** Its part in the committed placement; absent: no object counts as lying on it. */
  placed?: Place;
  /** The move (see EpochRecord) for which it has everything. */
  moved?: number;
  up: boolean;
  /** Epoch in which it came up last. */
  upSince: number;
  /**
   * Set while it may lack writes: it certainly has everything of epochs <= behindSince. After a power cut this is one
   * less than the last epoch it certainly served in, because what it had not synced in that epoch is gone.
   */
  behindSince?: number;
  /** It may lack any object, however old: a disk of it is lost. Until it has caught up by comparing everything. */
  incomplete?: boolean;
  /**
   * It has taken part in this epoch for certain, so everything older is on its stable storage. Being up in an epoch
   * proves nothing: it may have been dead already, and only its lease was not. Absent: 1.
   */
  sureEpoch?: number;
  /** behindSince is already lowered for a loss of unsynced writes: nothing older can be in doubt. */
  behindLossy?: boolean;
  /** In the step to this epoch it turned out to have lost unsynced writes. */
  lossy?: boolean;
  /** In the step to this epoch it had caught up. */
  caughtUp?: boolean;
}

/** Copies of all volumes of a family that had them altered. */
export interface FamilyCopies {
  readonly copies: number;
  /** What they shall be when the move under way is done. */
  readonly next?: number;
}

export interface EpochRecord {
  readonly epoch: number;
  readonly wallMs: number;
  /** The newest epoch <= this one in which every node with a place was up and complete, and nothing was moving. */
  readonly base: number;
  /**
   * The epoch before this one was really entered: everybody who was up in it took part, so changes may have been
   * acknowledged. When not, nothing happened in it, and nobody's absence from it can matter.
   */
  readonly ran: boolean;
  /**
   * While objects are being moved: the epoch in which the present target was set. The target is the placement by
   * `in`, `zone` and `vnodes`; when everybody in it has everything, it becomes `placed`.
   */
  readonly move?: number;
  /** By root of the family, in hexadecimal; those not here have what their volumes' records say. */
  readonly families?: Readonly<Record<string, FamilyCopies>>;
  /** In this step somebody decided to go on with the newest content there is where all of the newest is lost. */
  readonly lossAccepted?: boolean;
  readonly nodes: readonly EpochNode[];
}

const PROCESS_CHARACTERS = 8;

/** Incarnations of one process: another one for each registration, and all begin alike. `draw`: 8 random characters. */
export function incarnations(draw: () => string): () => string {
  const processId = draw();
  assert(processId.length === PROCESS_CHARACTERS, 'incarnations that do not tell their process');
  return () => `${processId}${draw()}`;
}

/** Equal for all registrations of one process, and only for them. */
export function processOf(incarnation: string): string {
  return incarnation.slice(0, PROCESS_CHARACTERS);
}

/** What a running sheep keeps under node/<id>, attached to its lease. */
export interface Registration {
  readonly id: string;
  readonly host: string;
  readonly port: number;
  readonly nbdPort: number;
  readonly httpPort: number;
  /** Address of the network for traffic between sheep, where that is another one. */
  readonly ioHost?: string;
  readonly ioPort?: number;
  readonly zone: number;
  readonly vnodes: number;
  readonly hostId: string;
  readonly bootId: string;
  readonly incarnation: string;
  readonly pid: number;
  readonly lease: string;
  /** Its store lost acknowledged writes that had not been synced (power cut, damaged journal). */
  readonly lossy: boolean;
  /** Its store lost objects (a disk is gone). */
  readonly incomplete?: boolean;
  /** The `upSince` for which it has caught up with everything it missed. */
  readonly caughtUp?: number;
  /** The move for which it has everything. */
  readonly moved?: number;
}

/** The placement that shall be: what is `in`, with its weight. */
export function targetOf(node: EpochNode): Place | undefined {
  return node.in && node.vnodes > 0 ? { zone: node.zone, vnodes: node.vnodes } : undefined;
}

/** It has everything that the committed placement puts on it; and of a move's target when it says so (`moved`). */
export function isWhole(node: EpochNode): boolean {
  return node.behindSince === undefined && !node.incomplete;
}

/** One line: each node up (+) or down (-), since when it is behind, and what happened to it in this step. */
export function formatEpoch(record: EpochRecord): string {
  const nodes = record.nodes.map((n) => {
    const marks = [
      !n.in && 'out',
      n.placed === undefined && 'empty',
      n.behindSince !== undefined && `behind ${n.behindSince}`,
      n.incomplete && 'incomplete',
      n.lossy && 'lossy',
      n.caughtUp && 'caught up',
      n.moved !== undefined && n.moved === record.move && 'moved',
    ].filter((mark) => mark !== false && mark !== undefined);
    return `${n.id}${n.up ? '+' : '-'}${marks.length === 0 ? '' : ` ${marks.join(' ')}`}`;
  });
  const move = record.move === undefined ? '' : ` move ${record.move}`;
  return `epoch ${record.epoch} base ${record.base}${move}: ${nodes.join(', ')}`;
}

/** Texts parsed last: everybody in a process reads the same. */
const PARSED_MAX = 64;
const parsed = new Map<string, EpochRecord>();

export function parseEpoch(text: string): EpochRecord {
  let record = parsed.get(text);
  if (record === undefined) {
    record = parseNew(text);
    if (parsed.size >= PARSED_MAX) parsed.delete(parsed.keys().next().value!);
    parsed.set(text, record);
  }
  return record;
}

function parseNew(text: string): EpochRecord {
  const record = JSON.parse(text) as EpochRecord;
  if (!Number.isSafeInteger(record.epoch) || !Array.isArray(record.nodes)) {
    throw new AppError('cluster-error', 'the epoch record in the coordinator is not readable');
  }
  return record;
}
