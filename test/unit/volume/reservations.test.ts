import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AppError } from '../../../src/base/errors.js';
import { SeededRandom } from '../../../src/base/random.js';
import { Reservations, type ReservationsOptions } from '../../../src/volume/reservations.js';
import { FakeClient, versionRecord } from './fake-client.js';

/** Of a sheep that is registered as '1'. */
function reservations(): Reservations {
  const client = new FakeClient(new SeededRandom(1));
  return new Reservations({ cluster: { client } } as unknown as ReservationsOptions);
}

test('what is written for a reservation ends with the registration that made it', () => {
  const of = (incarnation: string) => versionRecord(1, 1024, { maker: { nodeId: 'self', incarnation } });
  assert.is(reservations().sessionOf(of('1')).origin.incarnation, '1');
  for (const record of [of('0'), versionRecord(1, 1024)]) {
    try {
      reservations().sessionOf(record);
      assert.unreachable();
    } catch (error) {
      assert.is(AppError.from(error).code, 'again');
    }
  }
});

test.run();
