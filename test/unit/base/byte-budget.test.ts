import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ByteBudget } from '../../../src/base/byte-budget.js';

function waiter(budget: ByteBudget, bytes: number, log: number[]): { onBudget(): void; ask(): boolean } {
  const self = {
    onBudget: (): void => void self.ask(),
    ask(): boolean {
      const got = budget.tryTake(bytes, self);
      if (got) log.push(bytes);
      return got;
    },
  };
  return self;
}

test('serves waiters in the order of asking, and no small one overtakes a large one', () => {
  const budget = new ByteBudget(100, () => {});
  const log: number[] = [];
  assert.ok(waiter(budget, 60, log).ask());
  assert.not(waiter(budget, 90, log).ask());
  assert.not(waiter(budget, 10, log).ask());
  assert.not(waiter(budget, 11, log).ask());
  budget.give(60);
  assert.equal(log, [60, 90, 10]);
  budget.give(90);
  assert.equal(log, [60, 90, 10, 11]);
  assert.is(budget.takenBytes, 21);
});

test('lets a request larger than the limit through when nothing is taken', () => {
  const budget = new ByteBudget(100, () => {});
  const log: number[] = [];
  assert.ok(waiter(budget, 500, log).ask());
  assert.not(waiter(budget, 1, log).ask());
  budget.give(500);
  assert.equal(log, [500, 1]);
});

test('requests without payload never wait', () => {
  const budget = new ByteBudget(100, () => {});
  const log: number[] = [];
  waiter(budget, 100, log).ask();
  waiter(budget, 50, log).ask();
  assert.ok(waiter(budget, 0, log).ask());
});

test('a waiter that goes away lets the next one in, and pressure is told once', () => {
  let pressure = 0;
  const budget = new ByteBudget(100, () => pressure++);
  const log: number[] = [];
  waiter(budget, 60, log).ask();
  const large = waiter(budget, 90, log);
  large.ask();
  waiter(budget, 40, log).ask();
  assert.is(pressure, 1);
  budget.forget(large);
  assert.equal(log, [60, 40]);
  assert.not(budget.pressed);
});

test('giving back what was never taken is a broken belief', () => {
  assert.throws(() => new ByteBudget(100, () => {}).give(1), 'below zero');
});

test('parts of what has begun come before newcomers, and one at a time goes past the limit', () => {
  const budget = new ByteBudget(100, () => {});
  const log: string[] = [];
  const part = (name: string, bytes: number) => {
    const self = {
      onBudget: (): void => void self.ask(),
      ask: (): boolean => {
        const got = budget.takeMore(bytes, self);
        if (got) log.push(name);
        return got;
      },
    };
    return self;
  };
  assert.ok(waiter(budget, 100, []).ask());
  const newcomer = waiter(budget, 50, []);
  assert.not(newcomer.ask());
  const first = part('first', 30);
  const second = part('second', 30);
  assert.ok(first.ask());
  assert.not(second.ask());
  assert.ok(first.ask(), 'until it is complete');
  assert.is(budget.takenBytes, 160);
  budget.complete(first);
  budget.give(60);
  assert.equal(log, ['first', 'first', 'second']);
  assert.is(budget.takenBytes, 130);
  budget.complete(second);
  budget.give(80);
  assert.is(budget.takenBytes, 100, 'the newcomer has its bytes');
  assert.not(budget.pressed);
});

test('one that goes past the limit and goes away lets the next one do so', () => {
  const budget = new ByteBudget(100, () => {});
  const idle = { onBudget: () => {} };
  assert.ok(waiter(budget, 100, []).ask());
  assert.ok(budget.takeMore(10, idle));
  let got = false;
  const next = {
    onBudget: () => {
      got = budget.takeMore(10, next);
    },
  };
  next.onBudget();
  assert.not(got);
  budget.forget(idle);
  budget.give(10);
  assert.ok(got);
});

test('a waiter that does not ask when it is woken loses its place', () => {
  const budget = new ByteBudget(100, () => {});
  const log: number[] = [];
  waiter(budget, 100, log).ask();
  budget.tryTake(10, { onBudget: () => {} });
  waiter(budget, 20, log).ask();
  budget.give(100);
  assert.equal(log, [100, 20]);
  assert.not(budget.pressed);
});

test.run();
