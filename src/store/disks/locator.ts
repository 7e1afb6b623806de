/**
 * On which disk an object is. Nothing is remembered per object on disk (I-11): the disk it belongs on is asked first,
 * then the others; for what is in use the answer is kept in a bounded map.
 *
 * What makes two copies impossible: an object that is being made has its disk from the call on, before that disk shows
 * it; and what the map says is never contradicted by another disk, since only a move changes the place of an object.
 */
import type { Member } from './member.js';
import { inOrder, nearest, placeOf, type RootOf } from './placement.js';

/** Answers kept; all are forgotten beyond it. */
export const MAX_KNOWN_PLACES = 65_536;

interface Beginning {
  readonly member: Member;
  count: number;
}

export class Locator {
  private readonly known = new Map<bigint, Member>();
  private readonly beginnings = new Map<bigint, Beginning>();

  constructor(
    private readonly members: () => readonly Member[],
    private readonly rootOf: RootOf,
    /** Whether a disk has the object now; throws when the disk cannot say. */
    private readonly ask: (member: Member, oid: bigint) => boolean,
  ) {}

  /**
   * The only disk that can have the object; undefined when none has it. (The one that is named had it, or is about to:
   * whether it has it now is for its store to say.)
   */
  find(oid: bigint): Member | undefined {
    const known = this.known.get(oid) ?? this.beginnings.get(oid)?.member;
    if (known !== undefined) return known;
    const home = this.home(oid);
    if (home !== undefined && this.ask(home, oid)) return this.note(oid, home);
    for (const member of this.members()) {
      if (member !== home && this.ask(member, oid)) return this.note(oid, member);
    }
    return undefined;
  }

  /** Where the object belongs, whether it is there or not; undefined when every disk is being emptied. */
  home(oid: bigint): Member | undefined {
    return nearest(placeOf(oid, this.rootOf), this.members());
  }

  /** Where an object that nobody has is to be made: where it belongs, or the next disk with room. */
  homeOfNew(oid: bigint, objectBytes: number): Member {
    const home = this.home(oid) ?? this.members()[0]!;
    if (home.hasRoom(objectBytes)) return home;
    const order = inOrder(placeOf(oid, this.rootOf), this.members());
    // Full everywhere: the first one refuses in its own words.
    return order.find((member) => member.hasRoom(objectBytes)) ?? home;
  }

  /** Until `end`, an object that is not there yet has this disk. */
  begin(oid: bigint, member: Member): void {
    const beginning = this.beginnings.get(oid);
    if (beginning) beginning.count++;
    else this.beginnings.set(oid, { member, count: 1 });
  }

  end(oid: bigint): void {
    const beginning = this.beginnings.get(oid);
    if (beginning && --beginning.count === 0) this.beginnings.delete(oid);
  }

  isBeginning(oid: bigint): boolean {
    return this.beginnings.has(oid);
  }

  note(oid: bigint, member: Member): Member {
    if (this.known.size >= MAX_KNOWN_PLACES) this.known.clear();
    this.known.set(oid, member);
    return member;
  }

  /** The object is being removed: it may come back anywhere. */
  forget(oid: bigint): void {
    this.known.delete(oid);
  }

  forgetMember(member: Member): void {
    for (const [oid, at] of this.known) if (at === member) this.known.delete(oid);
    for (const [oid, { member: at }] of this.beginnings) if (at === member) this.beginnings.delete(oid);
  }
}
