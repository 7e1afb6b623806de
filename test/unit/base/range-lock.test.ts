import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { SeededRandom } from '../../../src/base/random.js';
import { RangeLocks, type Release } from '../../../src/base/range-lock.js';

/** A request for a lock, and whether it has been granted. */
class Claim {
  release: Release | undefined;

  constructor(
    locks: RangeLocks<string>,
    readonly key: string,
    readonly start: number,
    readonly end: number,
    readonly exclusive: boolean,
  ) {
    const taken = locks.acquire(key, start, end, exclusive);
    if (taken instanceof Promise) void taken.then((release) => (this.release = release));
    else this.release = taken;
  }

  get granted(): boolean {
    return this.release !== undefined;
  }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('shared locks go together, an exclusive one goes alone', async () => {
  const locks = new RangeLocks<string>();
  const one = new Claim(locks, 'k', 0, 10, false);
  const two = new Claim(locks, 'k', 5, 15, false);
  const writer = new Claim(locks, 'k', 9, 10, true);
  assert.equal([one.granted, two.granted, writer.granted], [true, true, false]);
  one.release!();
  await turn();
  assert.not(writer.granted);
  two.release!();
  await turn();
  assert.ok(writer.granted);
  writer.release!();
  assert.is(locks.size, 0);
});

test('ranges that only touch, and other keys, do not wait for each other', () => {
  const locks = new RangeLocks<string>();
  const claims = [
    new Claim(locks, 'k', 0, 10, true),
    new Claim(locks, 'k', 10, 20, true),
    new Claim(locks, 'other', 0, 10, true),
  ];
  assert.ok(claims.every((c) => c.granted));
});

test('a reader does not overtake a writer that waits', async () => {
  const locks = new RangeLocks<string>();
  const first = new Claim(locks, 'k', 0, 10, false);
  const writer = new Claim(locks, 'k', 0, 10, true);
  const late = new Claim(locks, 'k', 0, 10, false);
  assert.equal([writer.granted, late.granted], [false, false]);
  first.release!();
  await turn();
  assert.equal([writer.granted, late.granted], [true, false]);
  writer.release!();
  await turn();
  assert.ok(late.granted);
});

test('releasing twice is releasing once', async () => {
  const locks = new RangeLocks<string>();
  const first = new Claim(locks, 'k', 0, 10, true);
  const second = new Claim(locks, 'k', 0, 10, true);
  const third = new Claim(locks, 'k', 0, 10, true);
  first.release!();
  first.release!();
  await turn();
  assert.equal([second.granted, third.granted], [true, false]);
});

test('random claims are granted exactly when no earlier one that conflicts is left', async () => {
  for (let seed = 1; seed <= 30; seed++) {
    const random = new SeededRandom(seed);
    const locks = new RangeLocks<string>();
    let open: Claim[] = [];
    for (let i = 0; i < 200; i++) {
      if (random.chance(0.6)) {
        const start = random.below(20);
        open.push(
          new Claim(locks, random.pick(['p', 'q']), start, start + 1 + random.below(8), random.chance(0.5)),
        );
      } else {
        const granted = open.filter((c) => c.granted);
        if (granted.length === 0) continue;
        const done = random.pick(granted);
        done.release!();
        open = open.filter((c) => c !== done);
      }
      await Promise.resolve();
      await Promise.resolve();
      open.forEach((claim, at) => {
        const blocked = open.slice(0, at).some((earlier) => conflict(earlier, claim));
        assert.is(claim.granted, !blocked, `seed ${seed}, step ${i}`);
      });
    }
    while (open.length > 0) {
      const next = open.find((c) => c.granted)!;
      assert.ok(next, 'somebody can always go on');
      next.release!();
      open = open.filter((c) => c !== next);
      await turn();
    }
    assert.is(locks.size, 0);
  }
});

function conflict(a: Claim, b: Claim): boolean {
  return a.key === b.key && (a.exclusive || b.exclusive) && a.start < b.end && b.start < a.end;
}

test.run();
