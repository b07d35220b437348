// A device that tells its temperature every ten seconds, over TLS and with a password, and whether it is there.
//
// For the Arduino core for ESP32 and the library PubSubClient 2.8 by Nick O'Leary. What is yours stands in secrets.h.

#include <PubSubClient.h>
#include <WiFi.h>
#include <WiFiClientSecure.h>

#include "secrets.h"

const char readings[] = "$devices/" DEVICE_ID "/events";
const char presence[] = "$devices/" DEVICE_ID "/events/presence";

// In milliseconds.
const uint32_t interval = 10000;
const uint32_t shortestWait = 1000;
const uint32_t longestWait = 60000;

WiFiClientSecure network;
PubSubClient mqtt(network);

uint32_t lastReading = 0;
uint32_t lastTry = 0;
uint32_t ceiling = shortestWait; // of backOff
uint32_t backOff = 0; // before the next try

// Your sensor goes here. This is the temperature of the chip.
float temperature() { return temperatureRead(); }

// connectBroker tries once. The broker itself tells that this device is gone, by its last will.
void connectBroker() {
  lastTry = millis();
  if (!mqtt.connect(DEVICE_ID, DEVICE_ID, MQTT_PASSWORD, presence, 1, true, "{\"online\":false}")) {
    Serial.printf("MQTT: no connection, state %d\n", mqtt.state());
    // At random, or else a thousand devices would all come back at once when the broker does.
    backOff = ceiling / 2 + random(ceiling / 2);
    ceiling = min(ceiling * 2, longestWait);
    return;
  }
  ceiling = shortestWait;
  backOff = 0;
  mqtt.publish(presence, "{\"online\":true}", true);
}

void publishReading() {
  char payload[96];
  snprintf(payload, sizeof payload, "{\"temperature\":%.1f,\"rssi\":%d}", temperature(), static_cast<int>(WiFi.RSSI()));
  if (!mqtt.publish(readings, payload)) { // QoS 0: see README.md
    Serial.println("MQTT: the reading was not sent");
  }
}

void setup() {
  Serial.begin(115200);
  WiFi.mode(WIFI_STA);
  WiFi.begin(WIFI_SSID, WIFI_PASSWORD); // it connects again by itself
  network.setCACert(authority);
  mqtt.setServer(MQTT_HOST, MQTT_PORT);
  mqtt.setKeepAlive(30); // seconds: after one and a half times this the broker takes it for gone
  mqtt.setBufferSize(256); // of a whole packet; one that is longer is not sent
}

void loop() {
  if (WiFi.status() != WL_CONNECTED) {
    return;
  }
  // Differences of unsigned numbers are right also when millis() begins at 0 again, after 49 days.
  if (!mqtt.connected() && millis() - lastTry >= backOff) {
    connectBroker();
  }
  if (mqtt.loop() && millis() - lastReading >= interval) {
    lastReading = millis();
    publishReading();
  }
}
