import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { SeededRandom } from '../../../../src/base/random.js';
import { AuthorityHistory, defaultMinCopies } from '../../../../src/cluster/epochs/authority.js';
import type { Change } from '../../../../src/cluster/epochs/changes.js';
import {
  type EpochRecord,
  isWhole,
  type Registration,
  targetOf,
} from '../../../../src/cluster/epochs/epoch.js';
import { firstEpoch, nextEpoch } from '../../../../src/cluster/epochs/next-epoch.js';

/** A cluster of nodes a, b, c ... driven by registrations only, as the coordinator would see them. */
class Story {
  readonly registrations = new Map<string, Registration>();
  readonly ids: string[];
  record: EpochRecord;
  history: AuthorityHistory;
  /** The present epoch has been entered by everybody up in it. */
  ran = true;
  private starts = 0;

  /** `copies`: the placement is the first so many of those that have a place. */
  constructor(
    readonly count: number,
    readonly needed: number,
    readonly copies = count,
  ) {
    this.ids = Array.from({ length: count }, (_, i) => String.fromCharCode(97 + i));
    for (const id of this.ids) this.register(id, false);
    this.record = firstEpoch(this.registrations.values(), 0);
    this.history = new AuthorityHistory([this.record]);
  }

  register(id: string, lossy: boolean, fields: Partial<Registration> = {}): void {
    this.registrations.set(id, {
      id,
      host: id,
      port: 1,
      nbdPort: 0,
      httpPort: 0,
      zone: 0,
      vnodes: 1,
      hostId: id,
      bootId: '',
      incarnation: `${id}${++this.starts}`,
      pid: 0,
      lease: '',
      lossy,
      ...fields,
    });
  }

  /** Applies what has happened since the last epoch, if anything has. */
  step(change?: Change): boolean {
    const step = { wallMs: 0, ran: this.ran, ...(change && { change }) };
    const next = nextEpoch(this.record, this.registrations, step);
    if (next === undefined) return false;
    this.record = next;
    this.history = this.history.extend(next);
    return true;
  }

  change(change: Change): this {
    this.step(change);
    return this;
  }

  moved(id: string): this {
    this.registrations.set(id, { ...this.registrations.get(id)!, moved: this.record.move! });
    this.step();
    return this;
  }

  notRun(): this {
    this.ran = false;
    return this;
  }

  down(...ids: string[]): this {
    for (const id of ids) this.registrations.delete(id);
    this.step();
    return this;
  }

  up(id: string, lossy = false): this {
    this.register(id, lossy);
    this.step();
    return this;
  }

  caughtUp(id: string): this {
    const node = this.record.nodes.find((n) => n.id === id)!;
    this.registrations.set(id, { ...this.registrations.get(id)!, caughtUp: node.upSince });
    this.step();
    return this;
  }

  standing() {
    const idsOf = (record: EpochRecord, has: (n: EpochRecord['nodes'][number]) => unknown) =>
      record.nodes
        .filter((n) => has(n) !== undefined)
        .map((n) => n.id)
        .slice(0, this.copies);
    const targets = this.history.moves.map((move) => idsOf(move, targetOf));
    return this.history.standing(
      idsOf(this.record, (n) => n.placed),
      this.needed,
      targets,
    );
  }

  show(): string {
    const { authority, serving, targets } = this.standing();
    return `${authority.join('')} serving ${serving.join('')} targets ${targets.join('')}`;
  }
}

test('in a healthy epoch all holders serve', () => {
  assert.is(new Story(3, 2).show(), 'abc serving abc targets ');
});

test('two of three go on, and the third only takes writes until it has caught up', () => {
  const story = new Story(3, 2).down('c');
  assert.is(story.show(), 'ab serving ab targets ');
  assert.is(story.up('c').show(), 'ab serving ab targets c');
  assert.is(story.caughtUp('c').show(), 'abc serving abc targets ');
});

test('one of three cannot acknowledge, so those who are away stay as good', () => {
  const story = new Story(3, 2).down('b', 'c');
  assert.is(story.show(), 'abc serving a targets ');
  assert.ok(story.standing().serving.length < story.standing().needed);
  assert.is(story.down('a').up('b').show(), 'abc serving b targets ');
});

test('after two went on alone, the third waits for one of them (I-5)', () => {
  const story = new Story(3, 2).down('c').down('a', 'b').up('c');
  assert.is(story.show(), 'ab serving  targets c');
  assert.is(story.up('a').show(), 'ab serving a targets c');
});

test('of two copies the one that went on alone is awaited', () => {
  const story = new Story(2, 1).down('b').down('a').up('b');
  assert.is(story.show(), 'a serving  targets b');
  assert.is(
    story.up('a').caughtUp('b').show(),
    'ab serving ba targets ',
    'a has not said that it lacks nothing',
  );
});

test('what was under way stays as the one has shown it that was there last (I-2)', () => {
  // b and c leave one after the other, and what c shows meanwhile may not have reached b.
  const story = new Story(3, 2).down('a', 'b').up('b');
  assert.is(story.show(), 'bc serving cb targets ');
  assert.is(story.up('a').show(), 'bc serving cb targets a');
});

test('who has caught up counts for what that very epoch acknowledges', () => {
  // d is away with everything; a alone is not enough; b catches up from a, and a and b acknowledge without d.
  const story = new Story(3, 2).down('b').down('c').up('b');
  assert.is(story.show(), 'ac serving a targets b');
  assert.is(story.caughtUp('b').show(), 'ab serving ab targets ');
});

test('who lost unsynced writes is not believed while another has them', () => {
  const story = new Story(3, 2).up('c', true);
  assert.is(story.show(), 'ab serving ab targets c');
});

test('when all have lost power, one after the other, the last one heard is as good as any', () => {
  const story = new Story(3, 2).down('a', 'b', 'c').up('a', true);
  assert.is(story.show(), 'bc serving  targets a');
  assert.is(story.up('b', true).show(), 'c serving  targets ab');
  assert.is(story.up('c', true).show(), 'c serving c targets ab');
});

test('an epoch that not everybody entered changes nothing: who seemed up may have been dead', () => {
  // Two copies. a has lost power, which nobody knows yet; b is killed and noticed first.
  const story = new Story(2, 1).down('b').notRun().down('a');
  assert.is(story.show(), 'ab serving  targets ');
  assert.is(story.up('a', true).show(), 'b serving  targets a', 'b has what was acknowledged, a has lost it');
});

test('while objects move the new holder takes every write, and counts once it has everything', () => {
  const story = new Story(3, 1, 2).change({ kind: 'out', id: 'a', by: 'admin' });
  assert.is(story.show(), 'ab serving ab targets c');
  assert.is(story.moved('c').show(), 'abc serving abc targets ', 'b has not said that it lacks nothing');
  assert.is(story.moved('b').show(), 'bc serving bc targets ', 'the switch');
  assert.is(story.record.base, story.record.epoch);
});

test('a holder that dies while its objects move is not missed', () => {
  const story = new Story(3, 1, 2).change({ kind: 'out', id: 'a', by: 'admin' }).moved('c').down('a', 'b');
  assert.is(story.show(), 'c serving c targets ');
  assert.is(story.up('a').up('b').show(), 'c serving c targets ab');
});

test('a target that is changed again keeps who has everything until the switch', () => {
  const story = new Story(4, 1, 2).change({ kind: 'out', id: 'a', by: 'admin' }).moved('c');
  story.change({ kind: 'out', id: 'c', by: 'admin' });
  assert.is(story.show(), 'abc serving abc targets d');
  assert.is(story.moved('b').moved('d').show(), 'bd serving bd targets ');
});

test('a target that is what is already there ends the move at once', () => {
  const story = new Story(3, 1, 2)
    .change({ kind: 'out', id: 'a', by: 'admin' })
    .change({ kind: 'in', id: 'a' });
  assert.is(story.record.move, undefined);
  assert.is(story.show(), 'ab serving ab targets ');
});

test('a node that lost a disk is not believed, even when nobody else is left', () => {
  const story = new Story(2, 1).down('b');
  story.registrations.delete('a');
  story.register('a', false, { incomplete: true });
  story.step();
  assert.is(story.show(), ' serving  targets a');
  assert.is(story.up('b').show(), ' serving  targets ab', 'b lacks what a alone had');
  assert.is(story.change({ kind: 'accept-loss' }).show(), 'ab serving ab targets ');
});

test('an epoch missing from the history is a broken belief', () => {
  const story = new Story(3, 2);
  const far = { ...story.record, epoch: 5 };
  assert.throws(() => story.history.extend(far), /missing/);
  assert.throws(() => new AuthorityHistory([]), /empty/);
});

test('the default of I-4', () => {
  assert.equal([1, 2, 3, 5].map(defaultMinCopies), [1, 1, 2, 2]);
});

/**
 * One object, modelled with nothing clever: each node has the set of writes it holds. A write is acknowledged only in
 * an epoch that everybody up has entered, when enough serve, and then everyone who serves or is a target gets it. A
 * node that catches up or takes the object over copies a serving one. A power loss forgets what was not synced;
 * entering an epoch syncs. The dead are noticed later.
 */
class RandomHistory {
  readonly story: Story;
  acknowledged = 0;
  waits = 0;
  switches = 0;
  private readonly held: Map<string, Set<number>>;
  private readonly synced: Map<string, Set<number>>;
  private readonly unsafe = new Set<string>();
  /** Registered, and dead. */
  private readonly dead = new Set<string>();
  private certain = new Set<number>();
  private entered = 0;
  private nextWrite = 1;
  private readonly log: string[] = [];

  constructor(
    private readonly random: SeededRandom,
    count: number,
    private readonly needed: number,
    copies: number,
    private readonly powerCuts: boolean,
  ) {
    this.story = new Story(count, needed, copies);
    this.story.ran = false;
    this.held = new Map(this.story.ids.map((id) => [id, new Set()]));
    this.synced = new Map(this.story.ids.map((id) => [id, new Set()]));
  }

  /** False: what nobody was obliged to keep was lost, and the rest of the story means nothing. */
  act(): boolean {
    const { story, random } = this;
    const id = random.pick(story.ids);
    const isUp = story.registrations.has(id) && !this.dead.has(id);
    this.enter();
    const action = random.below(14);
    if (action < 4) this.write();
    else if (action < 6 && isUp) this.kill(id);
    else if (action < 8 && !isUp) this.start(id);
    else if (action === 8 && isUp) this.complete(id, 'caughtUp');
    else if (action < 12 && isUp) this.complete(id, 'moved');
    else if (action === 12)
      this.tryChange(random.chance(0.5) ? { kind: 'in', id } : { kind: 'out', id, by: 'admin' });
    else this.notice();
    return this.check();
  }

  /** Everybody who is up and alive syncs what came before; when nobody is dead, the epoch runs. */
  private enter(): void {
    const { story } = this;
    if (this.entered !== story.record.epoch) story.ran = false;
    this.entered = story.record.epoch;
    if (this.random.chance(0.3)) return;
    const up = story.record.nodes.filter((n) => n.up);
    if (up.some((n) => this.dead.has(n.id))) return;
    if (!story.ran) for (const n of up) this.synced.set(n.id, new Set(this.held.get(n.id)));
    story.ran = true;
  }

  private write(): void {
    const { serving, targets } = this.story.standing();
    if (!this.story.ran || serving.length < this.needed) {
      this.waits++;
      return;
    }
    const receivers = [...serving, ...targets];
    const alive = receivers.filter((id) => !this.dead.has(id));
    for (const r of alive) this.held.get(r)!.add(this.nextWrite);
    if (alive.length === receivers.length) {
      this.certain.add(this.nextWrite);
      this.acknowledged++;
    }
    this.log.push(
      `write ${this.nextWrite++} on ${alive.join('')}${alive.length < receivers.length ? ' failed' : ''}`,
    );
  }

  private kill(id: string): void {
    const cut = this.powerCuts && this.random.chance(0.3);
    if (cut) {
      this.held.set(id, new Set(this.synced.get(id)));
      this.unsafe.add(id);
    }
    this.dead.add(id);
    this.log.push(`${cut ? 'power cut' : 'kill'} ${id}`);
    if (this.random.chance(0.5)) this.notice();
  }

  private notice(): void {
    const id = [...this.dead].find((d) => this.story.registrations.has(d));
    if (id === undefined) return;
    this.log.push(`noticed ${id}`);
    this.dead.delete(id);
    this.story.down(id);
  }

  private start(id: string): void {
    this.dead.delete(id);
    const lossy = this.unsafe.delete(id);
    this.log.push(`start ${id}${lossy ? ' lossy' : ''}`);
    this.story.up(id, lossy);
  }

  private complete(id: string, how: 'caughtUp' | 'moved'): void {
    const { story } = this;
    const node = story.record.nodes.find((n) => n.id === id)!;
    const { serving } = story.standing();
    const due = how === 'caughtUp' ? node.behindSince !== undefined : story.record.move !== undefined;
    if (!due || !story.ran || serving.length === 0 || serving.some((s) => this.dead.has(s))) return;
    const copy = new Set(this.held.get(serving[0]!));
    // A holder of the object itself that is only behind is not made right by taking over what is new.
    if (how === 'caughtUp' || node.placed === undefined || isWhole(node)) {
      this.held.set(id, copy);
      this.synced.set(id, new Set(copy));
    }
    this.log.push(`${how} ${id}`);
    const before = story.record.move;
    if (how === 'caughtUp') story.caughtUp(id);
    else story.moved(id);
    if (before !== undefined && story.record.move === undefined) this.switches++;
  }

  private tryChange(change: Change): void {
    try {
      this.story.change(change);
      this.log.push(JSON.stringify(change));
    } catch {
      // The last node that holds objects must stay.
    }
  }

  private check(): boolean {
    const { authority, serving } = this.story.standing();
    // Acknowledged but unsynced writes may go only when every authority has lost its power.
    if (this.powerCuts && authority.every((a) => !includesAll(this.held.get(a)!, this.certain))) return false;
    for (const s of serving) {
      const problem = `${s} serves without an acknowledged write`;
      if (this.dead.has(s)) continue;
      assert.ok(includesAll(this.held.get(s)!, this.certain), `${problem}\n${this.log.join('\n')}`);
    }
    return true;
  }
}

function includesAll(set: ReadonlySet<number>, wanted: ReadonlySet<number>): boolean {
  for (const w of wanted) if (!set.has(w)) return false;
  return true;
}

for (const [count, needed, copies] of [
  [2, 1, 2],
  [3, 1, 3],
  [3, 2, 3],
  [3, 1, 2],
  [4, 2, 3],
  [5, 1, 2],
  [5, 3, 5],
] as const) {
  const shape = `${count} nodes, ${copies} copies, ${needed} needed`;
  test(`whoever serves has every acknowledged write: random histories of ${shape}`, () => {
    const sums = { acknowledged: 0, waits: 0, switches: 0 };
    for (let seed = 1; seed <= 150; seed++) {
      // Half of them without power cuts: there nothing at all may be lost.
      const random = new SeededRandom(seed * 100 + count * 10 + needed);
      const history = new RandomHistory(random, count, needed, copies, seed % 2 === 0);
      for (let i = 0; i < 80 && history.act(); i++);
      sums.acknowledged += history.acknowledged;
      sums.waits += history.waits;
      sums.switches += history.switches;
    }
    assert.ok(sums.acknowledged > 500, `only ${sums.acknowledged} writes were acknowledged`);
    assert.ok(sums.waits > 15, `only ${sums.waits} writes had to wait`);
    assert.ok(copies === count || sums.switches > 5, `only ${sums.switches} moves were finished`);
  });
}

test.run();
