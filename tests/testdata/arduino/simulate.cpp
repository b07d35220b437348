// Runs the sketch of config/examples/esp32 for some minutes of a clock of its own, which passes through the end of 32 bits.

#include "Arduino.h"

uint32_t begin = UINT32_MAX - 60000, now = begin;

uint32_t millis() { return now; }
long random(long below) { return below - 1; }
float temperatureRead() { return 41.25F; }

#include SKETCH

// pass lets so many seconds pass.
void pass(int seconds) {
  for (int i = 0; i < seconds * 10; i++, now += 100) loop();
}

int main() {
  setup();
  pass(10); // without a network: nothing is tried
  WiFi.now = WL_CONNECTED;
  pass(30); // without a broker
  mqtt.up = true;
  pass(60);
  mqtt.up = false;
  pass(200);
  mqtt.up = true;
  pass(60);
}
