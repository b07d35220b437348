// So much of the Arduino core for ESP32 as config/examples/esp32 uses, for a host. simulate.cpp says what time it is.
#pragma once

#include <algorithm>
#include <cstdarg>
#include <cstdint>
#include <cstdio>

using std::min;

uint32_t millis();
long random(long below);
float temperatureRead();

struct {
  void begin(unsigned long) {}
  void println(const char*) {}
  __attribute__((format(printf, 2, 3))) void printf(const char*, ...) {}
} Serial;
