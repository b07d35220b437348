// PubSubClient 2.8, as far as the example uses it. It prints what it is asked to do, after the seconds since the start.
#pragma once

#include <cstring>

#include "Arduino.h"
#include "WiFiClientSecure.h"

typedef bool boolean;

struct PubSubClient {
  bool up = false;       // there is a broker
  bool session = false;
  uint16_t buffer = 256;

  PubSubClient(Client&) {}

  PubSubClient& setServer(const char*, uint16_t) { return *this; }
  PubSubClient& setKeepAlive(uint16_t) { return *this; }
  boolean setBufferSize(uint16_t size) {
    buffer = size;
    return true;
  }

  boolean connect(const char* id, const char* user, const char* password, const char* topic, uint8_t qos, boolean retain,
                  const char* message) {
    say("connect", "%s %s %s will %s %d %d %s", id, user, password, topic, qos, retain, message);
    return session = up;
  }
  boolean publish(const char* topic, const char* payload) { return publish(topic, payload, false); }
  boolean publish(const char* topic, const char* payload, boolean retained) {
    // Header, length of the topic, topic and payload (MQTT 3.1.1, section 3.3).
    const bool fits = 5 + 2 + strlen(topic) + strlen(payload) <= buffer;
    if (session && fits) say(retained ? "retain" : "publish", "%s %s", topic, payload);
    return session && fits;
  }
  boolean loop() { return connected(); }
  boolean connected() { return session = session && up; }
  int state() { return session ? 0 : -2; }

 private:
  __attribute__((format(printf, 3, 4))) void say(const char* what, const char* form, ...) {
    extern uint32_t begin;
    ::printf("%u %s ", (millis() - begin) / 1000, what);
    va_list all;
    va_start(all, form);
    vprintf(form, all);
    va_end(all);
    putchar('\n');
  }
};
